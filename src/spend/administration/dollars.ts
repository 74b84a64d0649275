// Nano-dollars as the administration writes them beyond cents.

/** `12.000000001`, without zeros at the end. */
export function dollarsOf(nano: bigint): string {
  if (nano < 0n) return `-${dollarsOf(-nano)}`;
  const rest = (nano % 1_000_000_000n).toString().padStart(9, '0').replace(/0+$/, '');
  return `${nano / 1_000_000_000n}${rest === '' ? '' : `.${rest}`}`;
}
