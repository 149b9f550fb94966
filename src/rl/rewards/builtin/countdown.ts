import { answerPart, lastBoxed } from '../math/index.js';
import { add, divide, equal, isInteger, isSmall, multiply, negate, type Rational, rational } from '../math/rational.js';
import { type Reward, skip, value } from '../types.js';

/** Characters of an expression over a handful of numbers. */
const MAX_CHARS = 500;
const MAX_DEPTH = 50;

/** The value of an expression in + - * / and parentheses, and the numbers it used; a fault where it is none. */
export function evaluateExpression(
  text: string,
): { readonly value: Rational; readonly numbers: readonly number[] } | string {
  const source = text
    .replace(/[×·]|\\times|\\cdot/g, '*')
    .replace(/÷|\\div/g, '/')
    .replace(/−/g, '-')
    .replace(/\s+/g, ' ');
  if (source.length > MAX_CHARS) return 'the expression is too long';
  const tokens = source.match(/\d+|[-+*/()]|\S/g) ?? [];
  const numbers: number[] = [];
  let at = 0;
  let depth = 0;

  const sum = (): Rational => {
    let left = product();
    while (tokens[at] === '+' || tokens[at] === '-') {
      const sign = tokens[at++];
      const right = product();
      left = add(left, sign === '+' ? right : negate(right));
    }
    return left;
  };
  const product = (): Rational => {
    let left = atom();
    while (tokens[at] === '*' || tokens[at] === '/') {
      const quotient = tokens[at++] === '*' ? multiply(left, atom()) : divide(left, atom());
      if (!quotient) throw new SyntaxError('it divides by zero');
      left = quotient;
      if (!isSmall(left)) throw new SyntaxError('a value is too large');
    }
    return left;
  };
  const atom = (): Rational => {
    const token = tokens[at++];
    if (token === '(') {
      if (++depth > MAX_DEPTH) throw new SyntaxError('it is nested too deeply');
      const inside = sum();
      if (tokens[at++] !== ')') throw new SyntaxError('a parenthesis is not closed');
      depth--;
      return inside;
    }
    if (token === undefined || !/^\d{1,15}$/.test(token))
      throw new SyntaxError(`"${token ?? 'its end'}" stands where a number should`);
    numbers.push(Number(token));
    return rational(BigInt(token));
  };

  try {
    const result = sum();
    return at < tokens.length ? `"${tokens[at]}" is left over` : { value: result, numbers };
  } catch (error) {
    if (error instanceof SyntaxError) return error.message;
    throw error;
  }
}

/** The expression of a completion: what is boxed or answered, before an "= 24". */
function expressionOf(completion: string): string {
  const part = answerPart(completion);
  const text = (lastBoxed(part) ?? part).trim();
  const line = text.slice(text.lastIndexOf('\n') + 1);
  return line
    .replace(/^(?:the )?(?:answer|expression|equation)(?: is)?\s*:?/i, '')
    .replace(/^\$|\$$|\.$/g, '')
    .split('=', 1)[0]!
    .trim();
}

/**
 * 1 if the answer is an expression that uses each given number exactly once and reaches the target
 * (`meta.numbers`, `meta.target`); `partial` for a well-formed expression with the right numbers and the wrong value.
 */
export function countdown(options: { readonly partial?: number } = {}): Reward {
  const partial = options.partial ?? 0;
  return {
    name: 'countdown',
    check: ({ meta }) => (puzzle(meta) ? undefined : 'the problem has no meta.numbers and meta.target'),
    score({ completion, meta }) {
      const given = puzzle(meta);
      if (!given) return skip('the problem has no meta.numbers and meta.target');
      const result = evaluateExpression(expressionOf(completion));
      if (typeof result === 'string') return value(0, { fault: result });
      if (sorted(result.numbers) !== sorted(given.numbers)) return value(0, { fault: 'other numbers were used' });
      const hit = isInteger(result.value) && equal(result.value, rational(BigInt(given.target)));
      return hit ? value(1) : value(partial, { fault: 'the target is missed' });
    },
  };
}

const sorted = (numbers: readonly number[]): string => [...numbers].sort((a, b) => a - b).join(' ');

function puzzle(
  meta: Readonly<Record<string, unknown>> | undefined,
): { numbers: readonly number[]; target: number } | undefined {
  const { numbers, target } = meta ?? {};
  if (!Array.isArray(numbers) || !numbers.every(Number.isSafeInteger) || !Number.isSafeInteger(target))
    return undefined;
  return { numbers, target: target as number };
}
