// Telling this node what changed. A change is a row of the `changes` table, written in the transaction of the change
// itself and numbered in commit order (writes are serialized), so "everything after the last one I saw" is a
// complete and ordered answer, from whichever node the change came.
//
// Guarantee: a follower gets every change after its start once, in order, one batch at a time. If its `notice`
// fails, the same batch comes again, after 500 ms at the latest. `reach` resolves when every follower has noticed
// a change: `write` waits for it, so that a change is in effect on this node when its author gets the answer.

import { unavailable } from '../platform/errors.ts';
import type { Scope } from './scope.ts';
import type { Change } from './store.ts';
import { within } from './turn.ts';

export type ReadChanges = (after: number, limit: number) => Promise<readonly Change[]>;
export type Notice = (changes: readonly Change[]) => void | Promise<void>;

const BATCH = 500;
/** After a failure, in milliseconds. */
const RETRY_MS = 500;
/** Longest wait of a `write` for this node's followers, in milliseconds. */
const REACH_MS = 10_000;

export class ChangeFeed {
  readonly #followers = new Set<Follower>();
  readonly #read: ReadChanges;
  readonly #scope: Scope;
  readonly #onError: (error: unknown) => void;

  constructor(read: ReadChanges, scope: Scope, onError: (error: unknown) => void) {
    this.#read = read;
    this.#scope = scope;
    this.#onError = onError;
  }

  add(since: number, notice: Notice): () => Promise<void> {
    const scoped = (changes: readonly Change[]) => this.#scope.run('notice', () => notice(changes));
    const follower = new Follower(since, this.#read, scoped, this.#onError);
    this.#followers.add(follower);
    follower.wake();
    return async () => {
      this.#followers.delete(follower);
      const stopped = follower.stop();
      // A follower that stops itself from inside its notice must not wait for that notice.
      if (!this.#scope.inside('notice')) await stopped;
    };
  }

  /** Something may have changed: every follower looks. */
  wake(): void {
    for (const follower of this.#followers) follower.wake();
  }

  /** Resolves when every follower has noticed change `seq`; rejects with 503 if one cannot. */
  async reach(seq: number): Promise<void> {
    const all = Promise.all([...this.#followers].map((follower) => follower.reach(seq)));
    const message = 'The change is saved, but is not in effect on this node yet.';
    try {
      await within(REACH_MS, all, () => unavailable(message));
    } catch {
      // The follower has reported what went wrong and goes on trying.
      throw unavailable(message);
    }
  }

  async close(): Promise<void> {
    const stopping = [...this.#followers].map((follower) => follower.stop());
    this.#followers.clear();
    await Promise.all(stopping);
  }
}

class Follower {
  #since: number;
  readonly #read: ReadChanges;
  readonly #notice: (changes: readonly Change[]) => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #round: Promise<Failure | null> | null = null;
  #again = false;
  #stopped = false;
  #failing = false;
  #retry: NodeJS.Timeout | undefined;

  constructor(
    since: number,
    read: ReadChanges,
    notice: (changes: readonly Change[]) => Promise<void>,
    onError: (error: unknown) => void,
  ) {
    this.#since = since;
    this.#read = read;
    this.#notice = notice;
    this.#onError = onError;
  }

  wake(): void {
    if (this.#stopped) return;
    if (this.#round) this.#again = true;
    else void this.#look();
  }

  /** Resolves when change `seq`, already committed, is noticed; rejects with the reason why it is not. */
  async reach(seq: number): Promise<void> {
    // The round under way may have read before the commit; one that begins now cannot have.
    if (this.#round) await this.#round;
    if (this.#since >= seq || this.#stopped) return;
    const failure = await this.#look();
    if (failure) throw failure.error;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#retry);
    await this.#round;
  }

  /** The round that is under way, or a new one. Resolves with what went wrong, or null. */
  #look(): Promise<Failure | null> {
    this.#round ??= this.#catchUp().then(
      () => this.#ended(null),
      (error: unknown) => this.#ended({ error }),
    );
    return this.#round;
  }

  /** Reads and notices until there is nothing new. */
  async #catchUp(): Promise<void> {
    while (!this.#stopped) {
      this.#again = false;
      const changes = await this.#read(this.#since, BATCH);
      const last = changes.at(-1);
      if (this.#stopped) return;
      if (last !== undefined) {
        await this.#notice(changes);
        this.#since = last.seq;
      } else if (!this.#again) return;
    }
  }

  #ended(failure: Failure | null): Failure | null {
    this.#round = null;
    if (failure && !this.#stopped) {
      // One report for an outage, not two a second.
      if (!this.#failing) this.#onError(failure.error);
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => this.wake(), RETRY_MS).unref();
    }
    this.#failing = failure !== null;
    return failure;
  }
}

interface Failure {
  readonly error: unknown;
}
