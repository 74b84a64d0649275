// What values for a schema are made of, and how it is told that none can be made.

import type { Fields } from './schema-merge.ts';
import type { Seed } from './seed.ts';

/** Nothing can be built for this schema; `path` says where in it. */
export class Unbuildable extends Error {
  override readonly name = 'Unbuildable';
  readonly path: readonly string[];
  constructor(message: string, path: readonly string[]) {
    super(message);
    this.path = path;
  }
}

/** The API's way to name a place in a schema: `('properties', 'city')`. */
export function placeInContext(path: readonly string[]): string {
  return `(${path.map((step) => `'${step}'`).join(', ')}${path.length === 1 ? ',' : ''})`;
}

export interface Material {
  readonly seed: Seed;
  readonly words: readonly string[];
  readonly numbers: readonly number[];
  /** How many tries went before: choices are made otherwise each time. */
  readonly attempt: number;
}

/** A number from 0 up to, not with, `count`. */
export function choice(material: Material, count: number): number {
  return count < 2 ? 0 : material.seed.between(0, count - 1);
}

/** A keyword's number; `otherwise` where it is not there. */
export function bound(fields: Fields, word: string, otherwise: number): number {
  const value = fields.get(word);
  return typeof value === 'number' ? value : otherwise;
}
