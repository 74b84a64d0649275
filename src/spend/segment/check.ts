// Checks of a segment: of the whole, for whoever reads one, and of single values, for reading without a schema library
// (scan.ts).

import { crc32 } from 'node:zlib';
import type { Outcome, UsageSource } from '../usage.ts';
import { FORMAT } from './layout.ts';

const OLDER: readonly number[] = [1, 2, 3];

export interface RawSegment {
  readonly format: number;
  readonly events: number;
  readonly crc: number;
  readonly payload: Uint8Array;
}

/** The payload where it lies. Throws when it was damaged or is of a newer version. */
export function checkedPayload({ format, crc, payload }: RawSegment): Buffer {
  if (format !== FORMAT && !OLDER.includes(format))
    throw new Error(`usage segment of unknown format ${format}`);
  const bytes = Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength);
  if (crc32(bytes) !== crc) throw new Error('usage segment is damaged: its checksum is wrong');
  return bytes;
}

export class Misfit extends Error {
  constructor() {
    super('usage segment has a line that is not of its format');
  }
}

/** The entry of a segment's list that an event refers to. */
export function chosen<T>(all: readonly T[], at: number): T {
  const entry = all[at];
  if (entry === undefined) throw new Misfit();
  return entry;
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
