import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TrainMoeError } from '../../errors.js';
import { AddedMatcher } from '../added.js';
import type { Tokenizer } from '../tokenizer.js';
import { compileJinja, type RenderJinja } from './jinja.js';
import { hasGeneration, markGeneration, type Protect, protector } from './marks.js';

/** How conversations become text for one tokenizer, ready to render. */
export interface ChatTemplate {
  /** The Jinja text; written beside the tokenizer as `chat_template.jinja`. */
  readonly source: string;
  /** Where it comes from, for people: a path, or "the default template". */
  readonly origin: string;
  /** Tokens that end an assistant turn. */
  readonly stopIds: readonly number[];
  /** Texts at which a base model's answer ends, where the turns are marked by words only. */
  readonly stopTexts: readonly string[];
  /** Whether the template itself says what is trained, by `{% generation %}` blocks. */
  readonly marked: boolean;
  readonly tokenizer: Tokenizer;
  readonly jinja: RenderJinja;
  readonly protect: Protect;
  /** Finds added tokens in what the template printed. */
  readonly matcher: AddedMatcher;
}

/** Which template is taken. */
export interface ChatTemplateOptions {
  /** The folder of the tokenizer; by default where it was loaded from. */
  readonly folder?: string | undefined;
  /** A Jinja file, or a Jinja text, to use instead of the tokenizer's own. */
  readonly template?: string | undefined;
  /** Tokens that end an assistant turn, by their spelling; by default the tokenizer's and the model's end tokens. */
  readonly stopTokens?: readonly string[] | undefined;
}

/**
 * The chat template of a tokenizer: the one asked for, else `chat_template.jinja` beside it, else `chat_template` of its
 * tokenizer_config.json, else a plain one of ours.
 * @throws TrainMoeError `not-found` for a file or a stop token that does not exist, `bad-config` for what is no template
 */
export async function openChatTemplate(tokenizer: Tokenizer, options: ChatTemplateOptions = {}): Promise<ChatTemplate> {
  const folder = options.folder ?? folderOf(tokenizer.parts.source);
  const { source, origin, stopTexts } = findTemplate(tokenizer, folder, options.template);
  const { added } = tokenizer.parts;
  return {
    source,
    origin,
    stopTexts,
    stopIds: options.stopTokens?.length ? namedIds(tokenizer, options.stopTokens) : endIdsOf(tokenizer, folder),
    marked: hasGeneration(source),
    tokenizer,
    jinja: await compileJinja(markGeneration(source), `The chat template (${origin})`),
    protect: protector(added),
    matcher: new AddedMatcher(added),
  };
}

interface Found {
  readonly source: string;
  readonly origin: string;
  readonly stopTexts: readonly string[];
}

function findTemplate(tokenizer: Tokenizer, folder: string | undefined, asked: string | undefined): Found {
  const own = (source: string, origin: string): Found => ({ source, origin, stopTexts: [] });
  if (asked !== undefined) return /\{[{%]/.test(asked) ? own(asked, 'given as text') : own(readText(asked), asked);
  const file = folder === undefined ? undefined : join(folder, 'chat_template.jinja');
  if (file !== undefined && existsSync(file)) return own(readText(file), file);
  const configured = configuredTemplate(tokenizer.parts.config?.chat_template);
  if (configured !== undefined) return own(configured, 'tokenizer_config.json');
  return defaultTemplate(tokenizer);
}

/** A text, or a list of named ones of which "default" is meant. */
function configuredTemplate(value: unknown): string | undefined {
  if (typeof value === 'string') return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as readonly { readonly name?: unknown; readonly template?: unknown }[];
  const found = named.find(({ name }) => name === 'default') ?? named[0];
  return typeof found?.template === 'string' ? found.template : undefined;
}

/** DeepSeek-V3's turns, where the vocabulary has their marks; else the plain `User:` and `Assistant:` of V2. */
function defaultTemplate(tokenizer: Tokenizer): Found {
  const [user, assistant] = ['<｜User｜>', '<｜Assistant｜>'];
  if (tokenizer.addedTokens.has(user) && tokenizer.addedTokens.has(assistant))
    return {
      source: templateOf(`'${user}' + message.content`, `'${assistant}'`, 'message.content + eos_token', "''"),
      origin: 'the default template, with the marks of DeepSeek-V3',
      stopTexts: [],
    };
  return {
    source: templateOf(
      "'User: ' + message.content + '\\n\\n'",
      "'Assistant:'",
      "' ' + message.content + eos_token",
      "'\\n\\n'",
    ),
    origin: 'the default template, in plain text',
    stopTexts: ['\n\nUser:', 'User:'],
  };
}

const templateOf = (user: string, prompt: string, answer: string, afterSystem: string): string =>
  `{{ bos_token }}{% for message in messages %}{% if message.role == 'system' %}{{ message.content + ${afterSystem} }}` +
  `{% elif message.role == 'user' %}{{ ${user} }}{% elif message.role == 'assistant' %}{{ ${prompt} }}` +
  `{% generation %}{{ ${answer} }}{% endgeneration %}` +
  "{% else %}{{ raise_exception('it has no place for the role ' + message.role) }}{% endif %}{% endfor %}" +
  `{% if add_generation_prompt %}{{ ${prompt} }}{% endif %}`;

/** The end token of the tokenizer, and those that generation_config.json names beside it. */
function endIdsOf(tokenizer: Tokenizer, folder: string | undefined): number[] {
  const path = folder === undefined ? undefined : join(folder, 'generation_config.json');
  const named: unknown[] = path !== undefined && existsSync(path) ? [endTokensIn(path)].flat() : [];
  const ids = named.filter((id): id is number => Number.isInteger(id) && tokenizer.isSpecial(id as number));
  return [...new Set([...(tokenizer.eosId === undefined ? [] : [tokenizer.eosId]), ...ids])];
}

function endTokensIn(path: string): unknown {
  try {
    return (JSON.parse(readText(path)) as { eos_token_id?: unknown }).eos_token_id;
  } catch (cause) {
    throw new TrainMoeError('bad-data', `${path} is no JSON: ${(cause as Error).message}.`, { cause });
  }
}

function namedIds(tokenizer: Tokenizer, tokens: readonly string[]): number[] {
  return tokens.map((token) => {
    const id = tokenizer.addedTokens.get(token)?.id;
    if (id !== undefined) return id;
    throw new TrainMoeError('not-found', `The stop token ${token} is none of the tokenizer's added tokens.`);
  });
}

function folderOf(source: string): string | undefined {
  if (!existsSync(source)) return undefined;
  return statSync(source).isDirectory() ? source : dirname(source);
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new TrainMoeError('not-found', `The template ${path} cannot be read: ${(cause as Error).message}.`, {
      cause,
    });
  }
}
