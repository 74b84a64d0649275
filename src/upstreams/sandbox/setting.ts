// What a reply needs beside its request: the tokenizer, the time, new ids, and the little that is remembered.

import type { Tokenizer } from '../../spend/count-text.ts';
import { hash32 } from './seed.ts';

export interface Setting {
  readonly tokenizer: Tokenizer;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** A new id: the prefix, and hexadecimal digits that never come again. */
  readonly newId: (prefix: string, digits?: number) => string;
  /** Responses that `previous_response_id` may name: no text, only what the next turn needs to be checked. */
  readonly responses: Remembered<PastResponse>;
  /** How often each scripted fault with `times` has struck. */
  readonly strikes: Remembered<number>;
}

export interface PastResponse {
  /** Input and output tokens, which the next turn's prompt contains. */
  readonly tokens: number;
  /** Tool calls that have no output yet. */
  readonly openCalls: readonly string[];
}

export function newSetting(tokenizer: Tokenizer, now: () => number, salt: string): Setting {
  let calls = 0;
  return {
    tokenizer,
    now,
    newId: (prefix, digits = 32) => {
      calls += 1;
      return prefix + spread(calls.toString(16).padStart(8, '0'), salt, digits);
    },
    responses: new Remembered(1_000),
    strikes: new Remembered(1_000),
  };
}

// The counter itself is in the id, so that two are never alike; the hash around it only makes them look different.
function spread(counter: string, salt: string, digits: number): string {
  let text = hash32(counter + salt)
    .toString(16)
    .padStart(8, '0');
  text += counter;
  for (let round = 0; text.length < digits; round++) {
    text += hash32(text + salt, round)
      .toString(16)
      .padStart(8, '0');
  }
  return text.slice(0, digits);
}

/** A map that forgets what was least lately used. */
export class Remembered<V> {
  readonly #most: number;
  readonly #entries = new Map<string, V>();

  constructor(most: number) {
    this.#most = most;
  }

  get(key: string): V | undefined {
    const value = this.#entries.get(key);
    if (value !== undefined) this.set(key, value);
    return value;
  }

  set(key: string, value: V): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    const oldest = this.#entries.keys().next();
    if (this.#entries.size > this.#most && !oldest.done) this.#entries.delete(oldest.value);
  }

  delete(key: string): void {
    this.#entries.delete(key);
  }
}
