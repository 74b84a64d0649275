// Decimal text to a whole number of a small unit, exactly: prices are written in dollars per million and held in
// pico-dollars each, and a binary fraction in between would lose the last digit.

export interface Scaled {
  /** Rounded up where the text was finer than the unit. */
  readonly value: number;
  readonly exact: boolean;
}

/**
 * `text` × 10^`decimals`, as a whole number.
 * @throws RangeError if it is not a plain decimal, is negative, or passes 2^53 - 1 in the unit.
 */
export function scaleDecimal(text: string, decimals: number): Scaled {
  const match = /^(\d{1,15})(?:\.(\d{1,30}))?$/.exec(text.trim());
  if (match === null)
    throw new RangeError(`"${text}" is not an amount: write digits with a decimal point, such as 2.50`);
  const fraction = match[2] ?? '';
  const kept = fraction.slice(0, decimals).padEnd(decimals, '0');
  const exact = !/[1-9]/.test(fraction.slice(decimals));
  const value = BigInt((match[1] ?? '0') + kept) + (exact ? 0n : 1n);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw new RangeError(`"${text}" is more than can be held`);
  return { value: Number(value), exact };
}

/** A number as plain decimal text, without the noise of binary fractions: 0.18000000000000002 is 0.18. */
export function plainDecimal(value: number): string {
  if (!Number.isFinite(value) || value < 0) throw new RangeError(`${value} is not an amount`);
  const [mantissa = '0', exponent = '0'] = value.toExponential(11).split('e');
  const digits = mantissa.replace('.', '');
  const point = Number(exponent) + 1;
  const text =
    point <= 0
      ? `0.${'0'.repeat(-point)}${digits}`
      : `${digits.slice(0, point).padEnd(point, '0')}.${digits.slice(point)}`;
  return text.replace(/\.?0+$/, '');
}

/** `value` / 10^`decimals` as decimal text, exactly. */
export function unscaled(value: number, decimals: number): string {
  const digits = String(value).padStart(decimals + 1, '0');
  const rest = digits.slice(digits.length - decimals).replace(/0+$/, '');
  const whole = digits.slice(0, digits.length - decimals);
  return rest === '' ? whole : `${whole}.${rest}`;
}
