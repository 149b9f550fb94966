/**
 * Bounds on what a completion may ask of the verifier. Answers that people give lie far below them; beyond them the
 * text counts as unparseable, so that no completion can buy more than a few milliseconds.
 */

/** Characters of an extracted answer. The longest answer of the MATH set has about 160. */
export const MAX_ANSWER_CHARS = 4096;
/** Nesting of groups, brackets, powers and calls: the parser and the evaluators are recursive. */
export const MAX_DEPTH = 80;
/** Decimal digits of one literal. */
export const MAX_DIGITS = 1000;
/** Bits of an exact intermediate value: 10^1000 has 3322. Larger powers are compared modulo a prime instead. */
export const MAX_BITS = 8192;
/** Bits of an exponent in the modular comparison, which takes one squaring a bit. */
export const MAX_EXPONENT_BITS = 512;
/** n of n! and of binomials. */
export const MAX_FACTORIAL = 500;
/** Elements of one list, set or matrix, which are matched pair by pair. */
export const MAX_ITEMS = 64;
