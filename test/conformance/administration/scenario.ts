// What the scenarios share: the watched client, the server behind it, and lists read to their end over small pages.

import type OpenAI from 'openai';
import { expect } from 'vitest';
import type { TestServer } from '../../harness/server.ts';

export interface Scenario {
  readonly organization: OpenAI['admin']['organization'];
  readonly server: TestServer;
  /** A member of the organization beside its owner. */
  readonly memberId: string;
}

/**
 * Reads a list to its end, two at a time, and expects to find these ids, each once. What a list holds is named by its
 * `id`, or within a member for lists of assignments.
 */
export async function expectListed<T>(
  list: (page: { limit: number }) => AsyncIterable<T>,
  ids: readonly string[],
  idOf: (item: T) => string | null | undefined = (item) => (item as { id?: string }).id,
): Promise<void> {
  const listed: (string | null | undefined)[] = [];
  for await (const item of list({ limit: 2 })) listed.push(idOf(item));
  expect(new Set(listed).size).toBe(listed.length);
  for (const id of ids) expect(listed).toContain(id);
}

/** Makes `n` things one after the other. */
export async function several<T>(n: number, make: (at: number) => Promise<T>): Promise<T[]> {
  const made: T[] = [];
  for (let at = 0; at < n; at++) made.push(await make(at));
  return made;
}

export function some<T>(value: T | null | undefined, what: string): T {
  if (value === null || value === undefined) throw new Error(`The reply has no ${what}.`);
  return value;
}
