// The files of the prompt log: JSON lines in a folder, readable by the server's own user alone. A file that is full is
// followed by a new one; the oldest go when all together are too large or too old. Used on the log's own thread.

import { appendFileSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';

export interface FileBounds {
  /** All files together, in bytes. */
  readonly bytes: number;
  /** How long a line is kept at least, in milliseconds; its file goes soon after. */
  readonly ms: number;
}

const PARTS = 16;
const FORM = /^prompts-(\d{13})-[A-Za-z0-9._-]{1,80}\.jsonl$/;

export class PromptFiles {
  readonly #folder: string;
  readonly #node: string;
  readonly #bounds: FileBounds;
  #file: string | null = null;
  #begun = 0;
  #bytes = 0;

  constructor(folder: string, node: string, bounds: FileBounds) {
    this.#folder = folder;
    this.#node = node.replace(/[^A-Za-z0-9._-]/g, '_').slice(0, 80);
    this.#bounds = bounds;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Writes lines, each ended. */
  append(text: string, nowMs: number): void {
    const most = Math.ceil(this.#bounds.bytes / PARTS);
    const age = Math.ceil(this.#bounds.ms / PARTS);
    if (this.#file === null || this.#bytes >= most || nowMs - this.#begun >= age) this.#begin(nowMs);
    if (this.#file === null) return;
    appendFileSync(this.#file, text, { mode: 0o600 });
    this.#bytes += Buffer.byteLength(text);
  }

  #begin(nowMs: number): void {
    // Two files of one millisecond would be one: the number goes on from the last.
    const begun = Math.max(Math.floor(nowMs), this.#begun + 1);
    this.#file = join(this.#folder, `prompts-${String(begun).padStart(13, '0')}-${this.#node}.jsonl`);
    this.#begun = begun;
    this.#bytes = 0;
    this.prune(nowMs);
  }

  /** Removes what is too old, and the oldest of what is too much. Room is left for the file that begins. */
  prune(nowMs: number): void {
    const files = readdirSync(this.#folder)
      .flatMap((name) => {
        const begun = FORM.exec(name)?.[1];
        return begun === undefined ? [] : [{ path: join(this.#folder, name), begun: Number(begun) }];
      })
      .sort((a, b) => b.begun - a.begun);
    let bytes = Math.ceil(this.#bounds.bytes / PARTS);
    let newerBegun = nowMs;
    for (const { path, begun } of files) {
      bytes += statSync(path).size;
      // A file's last line is older than the next file's begin.
      if (bytes > this.#bounds.bytes || nowMs - newerBegun > this.#bounds.ms) rmSync(path, { force: true });
      newerBegun = begun;
    }
  }
}
