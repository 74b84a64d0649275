// Checks of single values of a segment, for reading without a schema library (scan.ts).

import type { Outcome, UsageSource } from '../usage.ts';

export class Misfit extends Error {
  constructor() {
    super('usage segment has a line that is not of its format');
  }
}

/** A list of between `least` and `most` values. */
export function list(value: unknown, least: number, most: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length < least || value.length > most) throw new Misfit();
  return value;
}

export function text(value: unknown): string {
  if (typeof value !== 'string') throw new Misfit();
  return value;
}

export function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw new Misfit();
  return value;
}

export function flag(value: unknown): boolean {
  if (value !== 0 && value !== 1) throw new Misfit();
  return value === 1;
}

/** 1: a test key's call; 2: a line of a batch. */
export function kinds(value: unknown): { readonly test: boolean; readonly batch: boolean } {
  const number = count(value);
  if (number > 3) throw new Misfit();
  return { test: (number & 1) !== 0, batch: (number & 2) !== 0 };
}

export function outcome(value: unknown): Outcome {
  switch (value) {
    case 'ok':
    case 'provider_error':
    case 'client_closed':
    case 'provider_cut':
    case 'budget_stop':
    case 'timeout':
      return value;
    default:
      throw new Misfit();
  }
}

export function source(value: unknown): UsageSource {
  switch (value) {
    case 'provider':
    case 'counted':
    case 'none':
      return value;
    default:
      throw new Misfit();
  }
}
