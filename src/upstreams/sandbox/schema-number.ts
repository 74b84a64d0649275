// A number within a schema's bounds: one of the prompt's where one fits.

import { bound, choice, type Material, Unbuildable } from './schema-material.ts';
import type { Fields } from './schema-merge.ts';

export function numberFor(
  fields: Fields,
  whole: boolean,
  material: Material,
  path: readonly string[],
): number {
  const step = bound(fields, 'multipleOf', whole ? 1 : 0);
  const from = Math.max(bound(fields, 'minimum', -Infinity), bound(fields, 'exclusiveMinimum', -Infinity));
  const to = Math.min(bound(fields, 'maximum', Infinity), bound(fields, 'exclusiveMaximum', Infinity));
  const fits = (value: number): boolean =>
    value >= from &&
    value <= to &&
    value !== fields.get('exclusiveMinimum') &&
    value !== fields.get('exclusiveMaximum') &&
    (!whole || Number.isInteger(value)) &&
    (step === 0 || Number.isInteger(value / step)) &&
    Number.isFinite(value);
  const given = material.numbers.find(fits);
  if (given !== undefined && material.attempt === 0 && choice(material, 2) === 0) return given;
  const low = Number.isFinite(from) ? from : Number.isFinite(to) ? to - 100 : 0;
  const high = Number.isFinite(to) ? to : low + 100;
  for (let tries = 0; tries < 64; tries++) {
    const guess = low + material.seed.fraction() * (high - low);
    for (const value of numbersNear(guess, low, high, whole ? Math.max(1, step) : step)) {
      if (fits(value)) return value === 0 ? 0 : value;
    }
  }
  throw new Unbuildable('no number was found between its bounds', path);
}

function numbersNear(guess: number, low: number, high: number, step: number): number[] {
  if (step === 0) return [Number(guess.toFixed(2)), guess, low, high];
  const steps = Math.round(guess / step);
  return [steps, steps + 1, steps - 1, Math.ceil(low / step), Math.floor(high / step)].map(
    (count) => count * step,
  );
}
