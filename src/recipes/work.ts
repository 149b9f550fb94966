import { TrainMoeError } from '../errors.js';

/**
 * The work that leads to the value of a sum of terms, one equation a step, from left to right: "12 + 3 * 41 - 7" gives
 * 3*41=123, 12+123=135, 135-7=128. A product of longer factors is taken apart by the digits of the second one.
 * @throws TrainMoeError `bad-argument` for a text that is no such sum
 */
export function workOf(expression: string): string[] {
  const terms = expression.split(/ (?=[+-] )/).map(termOf);
  const steps: string[] = [];
  let total = 0n;
  terms.forEach(({ sign, factors }, i) => {
    const value = product(factors, steps);
    if (i > 0) steps.push(`${total}${sign}${value}=${sign === '+' ? total + value : total - value}`);
    total = sign === '+' ? total + value : total - value;
  });
  return steps;
}

interface Term {
  readonly sign: '+' | '-';
  readonly factors: readonly bigint[];
}

function termOf(text: string): Term {
  const [, sign = '+', product] = /^(?:([+-]) )?(\d+(?: \* \d+)*)$/.exec(text) ?? [];
  if (product === undefined)
    throw new TrainMoeError('bad-argument', `"${text}" is no term; a sum looks like 12 + 3 * 41 - 7.`);
  return { sign: sign as Term['sign'], factors: product.split(' * ').map(BigInt) };
}

/** The product of the factors; its steps are appended. */
function product(factors: readonly bigint[], steps: string[]): bigint {
  return factors.reduce((a, b) => {
    const parts = a < 10n || b < 10n ? [b] : placesOf(b);
    for (const part of parts) steps.push(`${a}*${part}=${a * part}`);
    let sum = a * parts[0]!;
    for (const part of parts.slice(1)) {
      steps.push(`${sum}+${a * part}=${sum + a * part}`);
      sum += a * part;
    }
    return sum;
  });
}

/** 305 -> 300, 5. */
function placesOf(value: bigint): bigint[] {
  const digits = [...String(value)];
  return digits.flatMap((digit, i) => (digit === '0' ? [] : [BigInt(digit) * 10n ** BigInt(digits.length - 1 - i)]));
}
