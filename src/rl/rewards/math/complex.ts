/** A complex number of doubles. Functions take principal values. */
export interface Complex {
  readonly re: number;
  readonly im: number;
}

export const real = (re: number): Complex => ({ re, im: 0 });
export const plus = (a: Complex, b: Complex): Complex => ({ re: a.re + b.re, im: a.im + b.im });
export const times = (a: Complex, b: Complex): Complex => ({
  re: a.re * b.re - a.im * b.im,
  im: a.re * b.im + a.im * b.re,
});
export const over = (a: Complex, b: Complex): Complex => {
  if (b.im === 0) return { re: a.re / b.re, im: a.im / b.re };
  const scale = b.re * b.re + b.im * b.im;
  return { re: (a.re * b.re + a.im * b.im) / scale, im: (a.im * b.re - a.re * b.im) / scale };
};
export const size = (a: Complex): number => Math.hypot(a.re, a.im);
export const exp = (a: Complex): Complex => {
  const scale = Math.exp(a.re);
  return a.im === 0 ? real(scale) : { re: scale * Math.cos(a.im), im: scale * Math.sin(a.im) };
};
/** ln, on the branch with -pi < im <= pi. */
export const ln = (a: Complex): Complex => ({
  re: Math.log(size(a)),
  im: a.im === 0 && a.re >= 0 ? 0 : Math.atan2(a.im, a.re),
});

export function pow(a: Complex, b: Complex): Complex {
  if (b.im === 0 && a.im === 0 && (a.re >= 0 || Number.isInteger(b.re))) return real(a.re ** b.re);
  if (b.im === 0 && Number.isInteger(b.re) && Math.abs(b.re) <= 64) return integerPower(a, b.re);
  return a.re === 0 && a.im === 0 ? real(b.re > 0 ? 0 : Number.NaN) : exp(times(b, ln(a)));
}

/** Repeated squaring, which keeps i^2 = -1 exact. */
function integerPower(a: Complex, exponent: number): Complex {
  let result = real(1);
  for (let e = Math.abs(exponent), b = a; e > 0; e = Math.floor(e / 2), b = times(b, b))
    if (e % 2) result = times(result, b);
  return exponent < 0 ? over(real(1), result) : result;
}

export const sin = (a: Complex): Complex =>
  a.im === 0 ? real(Math.sin(a.re)) : { re: Math.sin(a.re) * Math.cosh(a.im), im: Math.cos(a.re) * Math.sinh(a.im) };
export const cos = (a: Complex): Complex =>
  a.im === 0 ? real(Math.cos(a.re)) : { re: Math.cos(a.re) * Math.cosh(a.im), im: -Math.sin(a.re) * Math.sinh(a.im) };
