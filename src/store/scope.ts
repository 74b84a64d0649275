// Knows whether code runs inside a `write` or inside a follower's `notice`, so that what would wait for itself for
// ever is refused at once instead.

import { AsyncLocalStorage } from 'node:async_hooks';

interface Frame {
  readonly kind: 'write' | 'notice';
  /** What was started inside and runs on after the end is outside again. */
  over: boolean;
}

export class Scope {
  readonly #frames = new AsyncLocalStorage<Frame>();

  async run<T>(kind: Frame['kind'], work: () => T | Promise<T>): Promise<T> {
    const frame: Frame = { kind, over: false };
    try {
      return await this.#frames.run(frame, work);
    } finally {
      frame.over = true;
    }
  }

  inside(kind: Frame['kind']): boolean {
    const frame = this.#frames.getStore();
    return frame !== undefined && !frame.over && frame.kind === kind;
  }

  /** A query through `store.db` inside a `write` would not see the transaction, and on SQLite wait for it. */
  refuseQuery(): void {
    if (this.inside('write'))
      throw new Error('Inside a write, query through its tx and not through store.db.');
  }

  refuseWrite(): void {
    if (this.inside('write')) throw new Error('A write inside a write would wait for itself: use its tx.');
    if (this.inside('notice'))
      throw new Error('A write inside a notice would wait for itself: do it afterwards.');
  }
}
