import { TrainMoeError } from '../../errors.js';

/** Steps of one rendering. A long conversation takes some ten thousand; a template that loops for ever is stopped soon. */
const MAX_STEPS = 300_000;
/** Characters of one text, and elements of one list, that a template may make. */
const MAX_TEXT = 1 << 26;
const MAX_LIST = 1 << 17;
/** Characters or elements that count as one step. */
const PER_STEP = 64;

/** Renders with these variables. @throws TrainMoeError `bad-data` with the template's own reason, or for one that never ends */
export type RenderJinja = (variables: Readonly<Record<string, unknown>>) => string;

/**
 * Compiles a Jinja template. Templates come with downloaded models, so what they may do is bounded: every node that is
 * evaluated counts, with the size of its value, and so does every element of a range. The count does not depend on the
 * machine. There is no `strftime_now`: training data must not change with the day (templates that ask whether it is
 * defined take their fixed date).
 * @throws TrainMoeError `bad-config` when it does not parse
 */
export async function compileJinja(source: string, where: string): Promise<RenderJinja> {
  const { Environment, Interpreter, Template } = (await import('@huggingface/jinja')) as unknown as Jinja;
  const program = parsed(() => new Template(source).parsed, where);
  return (variables) => {
    const environment = new Environment();
    for (const [name, value] of Object.entries({ ...GLOBALS, ...variables })) environment.set(name, value);
    const interpreter = new Interpreter(environment);
    const evaluate = interpreter.evaluate.bind(interpreter);
    let steps = 0;
    interpreter.evaluate = (statement, scope) => {
      const result = evaluate(statement, scope);
      steps += 1 + sizeOf(result.value) / PER_STEP;
      if (steps > MAX_STEPS) throw new Unbounded(`it takes more than ${MAX_STEPS} steps`);
      return result;
    };
    try {
      return String(interpreter.run(program).value);
    } catch (cause) {
      throw new TrainMoeError('bad-data', `${where} cannot render this: ${reasonOf(cause)}.`, { cause });
    }
  };
}

/** What is used of the library, whose own declarations do not resolve under "nodenext". */
interface Jinja {
  readonly Template: new (source: string) => { readonly parsed: unknown };
  readonly Environment: new () => { set(name: string, value: unknown): unknown };
  readonly Interpreter: new (
    environment: unknown,
  ) => {
    evaluate: (statement: unknown, scope: unknown) => { readonly value: unknown };
    run(program: unknown): { readonly value: unknown };
  };
}

class Unbounded extends Error {}

const GLOBALS = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range: (...bounds: readonly unknown[]) => range(bounds),
  raise_exception: (reason: unknown) => {
    throw new Error(String(reason));
  },
} as const;

function parsed<T>(parse: () => T, where: string): T {
  try {
    return parse();
  } catch (cause) {
    throw new TrainMoeError('bad-config', `${where} is no Jinja template that can be read: ${reasonOf(cause)}.`, {
      cause,
    });
  }
}

function sizeOf(value: unknown): number {
  const size = typeof value === 'string' || Array.isArray(value) ? value.length : value instanceof Map ? value.size : 0;
  if (size > (typeof value === 'string' ? MAX_TEXT : MAX_LIST))
    throw new Unbounded(`it makes a value of ${size} characters or elements`);
  return size;
}

/** Python's range(stop), range(start, stop) and range(start, stop, step). */
function range(bounds: readonly unknown[]): number[] {
  const given = bounds.filter((bound) => typeof bound === 'number');
  const [start, stop, step] = given.length < 2 ? [0, given[0] ?? 0, 1] : [given[0]!, given[1]!, given[2] ?? 1];
  const count = step === 0 ? 0 : Math.max(0, Math.ceil((stop - start) / step));
  if (count > MAX_LIST) throw new Unbounded(`it asks for a range of ${count}`);
  return Array.from({ length: count }, (_, i) => start + i * step);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message.replace(/\.$/, '') : String(error);
}
