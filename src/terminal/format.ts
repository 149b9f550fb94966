/** Numbers for people. All of them take NaN and infinities without complaint, and never show a negative zero. */

const SI_PREFIXES = ['', 'k', 'M', 'G', 'T', 'P', 'E'];
const BINARY_PREFIXES = ['', 'Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'];

/** Three significant digits with an SI prefix: 999, 1.23k, 12.3M, 1.00T. */
export function formatCount(value: number): string {
  return prefixed(value, 1000, SI_PREFIXES, '');
}

/** So many of something, in full: "1 step", "1,234 steps". */
export const formatAmount = (count: number, what: string): string =>
  `${count.toLocaleString('en-US')} ${what}${count === 1 ? '' : 's'}`;

/** A rate or amount of a unit: `formatUnit(5230, 'tok/s')` is "5.23 ktok/s". */
export function formatUnit(value: number, unit: string): string {
  return prefixed(value, 1000, SI_PREFIXES, ' ') + unit;
}

/** Memory: 1.50 GiB. */
export function formatBytes(bytes: number): string {
  return `${prefixed(bytes, 1024, BINARY_PREFIXES, ' ')}B`;
}

function prefixed(value: number, base: number, prefixes: readonly string[], separator: string): string {
  if (!Number.isFinite(value)) return `${value}${separator}`;
  let scaled = Math.abs(value);
  let power = 0;
  // Compared as it will be printed, so that 999.6 becomes 1.00k and not 1000.
  while (Number(threeDigits(scaled)) >= base && power < prefixes.length - 1) {
    scaled /= base;
    power++;
  }
  const digits = power === 0 && Number.isInteger(scaled) ? String(scaled) : threeDigits(scaled);
  return `${value < 0 && Number(digits) !== 0 ? '-' : ''}${digits}${separator}${prefixes[power]}`;
}

/** 0.123, 1.23, 12.3, 123, 1023. */
function threeDigits(value: number): string {
  if (value < 0.9995) return value.toFixed(3);
  const decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return value.toFixed(decimals);
}

/** A loss, a norm, a learning rate: `digits` significant digits, scientific where zeros would hide them. */
export function formatNumber(value: number, digits = 4): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const exponent = Number(value.toExponential(digits - 1).split('e')[1]);
  if (exponent < -3 || exponent >= digits + 3) return trimExponent(value.toExponential(Math.min(digits - 1, 2)));
  return value.toFixed(Math.max(0, digits - 1 - exponent));
}

/** 3.00e-4 becomes 3e-4. */
function trimExponent(text: string): string {
  return text.replace(/\.?0*e\+?/, 'e');
}

export function formatPercent(fraction: number): string {
  if (!Number.isFinite(fraction)) return String(fraction);
  const percent = fraction * 100;
  const text = percent.toFixed(Math.abs(percent) < 9.95 ? 1 : 0);
  return `${Number(text) === 0 ? text.replace('-', '') : text}%`;
}

const UNITS = [
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
  ['s', 1],
] as const;

/**
 * A time in seconds, in its two largest units: 850ms, 42s, 3m 07s, 2h 05m, 4d 03h. A clock that was set back can make
 * it negative; that is shown as 0s. An unknown time (NaN, infinity) is "?".
 */
export function formatDuration(seconds: number): string {
  if (!Number.isFinite(seconds)) return '?';
  if (seconds > 0 && seconds < 0.9995) return `${Math.max(1, Math.round(seconds * 1000))}ms`;
  let whole = Math.max(0, Math.round(seconds));
  // Above an hour the seconds are not shown: round to what is.
  if (whole >= 3600) whole = Math.round(whole / 60) * 60;
  if (whole >= 86_400) whole = Math.round(whole / 3600) * 3600;
  const first = UNITS.findIndex(([, size]) => whole >= size);
  if (first < 0) return '0s';
  const [unit, size] = UNITS[first]!;
  const next = UNITS[first + 1];
  const head = `${Math.floor(whole / size)}${unit}`;
  return next === undefined
    ? head
    : `${head} ${String(Math.floor((whole % size) / next[1])).padStart(2, '0')}${next[0]}`;
}

/** Seconds left, when `done` of `total` took `elapsed` seconds; NaN while nothing is known. */
export function remainingSeconds(done: number, total: number, elapsed: number): number {
  if (done >= total) return 0;
  return done > 0 && elapsed > 0 ? ((total - done) * elapsed) / done : Number.NaN;
}
