import { TrainMoeError } from '../../../errors.js';
import { answerPart } from '../math/index.js';
import { DEFAULT_LIMITS, probeSandbox, runInSandbox, type SandboxLimits } from '../sandbox/run.js';
import type { Language } from '../sandbox/tools.js';
import { type Reward, type Sample, skip, value } from '../types.js';

/** What a code problem says in its `meta`. */
export interface CodeMeta {
  /** Put before the tests: imports, helpers. */
  readonly setup?: string;
  /** Runs after the code and fails by an exception. */
  readonly test: string;
  /** The function asked for. With it and `prefix`, a completion that does not define it continues the prefix. */
  readonly entryPoint?: string;
  /** The code the prompt ended in, such as a signature with its description. */
  readonly prefix?: string;
}

/** Characters of a completion's code; no solution of a short problem comes near. */
const MAX_CODE = 200_000;

/** The last ``` block of a text, or the text itself. */
export function codeOf(text: string): string {
  const close = text.lastIndexOf('```');
  const open = close <= 0 ? -1 : text.lastIndexOf('```', close - 1);
  if (open < 0) return text;
  const newline = text.indexOf('\n', open);
  return newline < 0 || newline > close ? text : text.slice(newline + 1, close);
}

/** The whole program: setup, the completion's code (behind the prefix, if it continues it) and the tests. */
export function programOf(completion: string, meta: CodeMeta, language: Language): string {
  const code = codeOf(answerPart(completion));
  const { entryPoint, prefix } = meta;
  const defines = entryPoint !== undefined && definition(entryPoint, language).test(code);
  const body = prefix === undefined ? code : defines ? `${importsOf(prefix)}\n${code}` : prefix + code;
  return [meta.setup ?? '', body, meta.test].join('\n');
}

function definition(name: string, language: Language): RegExp {
  const escaped = name.replace(/[^\w]/g, '\\$&');
  return language === 'python'
    ? new RegExp(`^(?:async )?def ${escaped}\\b`, 'm')
    : new RegExp(`\\b${escaped}\\b\\s*(?:=|\\()`);
}

/** A chat answer repeats the function but seldom the imports above it, or helpers that the prompt defined. */
function importsOf(prefix: string): string {
  const last = prefix.lastIndexOf('\ndef ');
  return last >= 0
    ? prefix.slice(0, last)
    : prefix
        .split('\n')
        .filter((line) => /^(?:import|from) /.test(line))
        .join('\n');
}

function metaOf(sample: Omit<Sample, 'completion'>): CodeMeta | undefined {
  const meta = sample.meta as Partial<CodeMeta> | undefined;
  return typeof meta?.test === 'string' && meta.test.trim() !== '' ? (meta as CodeMeta) : undefined;
}

/** How code is run and judged. */
export interface CodeOptions {
  readonly language?: Language;
  readonly limits?: Partial<SandboxLimits>;
}

/**
 * 1 if the completion's code passes the problem's tests in the sandbox. A program that fails, hangs or shouts gets 0:
 * that is the completion's doing. @throws TrainMoeError (`prepare`) where there is no working sandbox
 */
export function code(options: CodeOptions = {}): Reward {
  const language = options.language ?? 'python';
  if (language !== 'python' && language !== 'javascript') {
    throw new TrainMoeError(
      'bad-config',
      `The code reward's language is "${language}"; it runs "python" or "javascript".`,
    );
  }
  const limits = { ...DEFAULT_LIMITS[language], ...options.limits };
  return {
    name: 'code',
    check: (problem) => (metaOf(problem) ? undefined : 'the problem has no meta.test'),
    prepare: () => probeSandbox(language),
    async score(sample) {
      const meta = metaOf(sample);
      if (!meta) return skip('the problem has no meta.test');
      if (sample.completion.length > MAX_CODE) return value(0, { outcome: 'too long' });
      const { passed, outcome, detail } = await runInSandbox(
        language,
        programOf(sample.completion, meta, language),
        limits,
      );
      return value(passed ? 1 : 0, passed ? { outcome } : { outcome, detail: detail.slice(-500) });
    },
  };
}
