// The connections to one origin: a stack, last in, first out, so that hot connections stay hot and idle ones are let
// go of. When all that are allowed are busy a call waits its turn; how many wait is bounded by the calls that the
// server admits.

import type { Clock } from '../../platform/clock.ts';
import { Connection, ConnectionError, type ConnectOptions, type Origin } from './connection.ts';

/** Waits for a connection; one of the two is called once, at once or later. */
export interface Waiting {
  take(connection: Connection): void;
  failed(error: Error): void;
}

const IDLE_MS = 30_000;
const SWEEP_MS = 5_000;

export class Connections {
  readonly #origin: () => Origin | Promise<Origin>;
  readonly #options: ConnectOptions;
  readonly #most: number;
  readonly #clock: Clock;
  readonly #free: Connection[] = [];
  readonly #all = new Set<Connection>();
  readonly #sweeping: NodeJS.Timeout;
  /** Those that wait, oldest first from `#next`. */
  #waiting: Waiting[] = [];
  #next = 0;
  /** Connections whose origin is still being asked for. */
  #opening = 0;
  #closed = false;

  /** @param origin where to connect to; asked for each new connection, for one that must first be started */
  constructor(origin: () => Origin | Promise<Origin>, most: number, options: ConnectOptions, clock: Clock) {
    this.#origin = origin;
    this.#most = most;
    this.#options = options;
    this.#clock = clock;
    this.#sweeping = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /** Connections that exist, busy or free. */
  get size(): number {
    return this.#all.size;
  }

  /** Gives a connection to `waiting`, now or later. What was given must be released exactly once. */
  acquire(waiting: Waiting): void {
    const connection = this.#free.pop();
    if (connection !== undefined) waiting.take(connection);
    else if (this.#closed) waiting.failed(new ConnectionError('ECONNCLOSED', 'the server is stopping'));
    else if (this.#all.size + this.#opening >= this.#most) this.#waiting.push(waiting);
    else this.#open(waiting);
  }

  #open(waiting: Waiting): void {
    const origin = this.#origin();
    if (!(origin instanceof Promise)) {
      waiting.take(this.#another(origin));
      return;
    }
    this.#opening++;
    origin.then(
      (at) => {
        this.#opening--;
        waiting.take(this.#another(at));
      },
      (error: unknown) => {
        this.#opening--;
        waiting.failed(
          error instanceof Error ? error : new ConnectionError('ENOORIGIN', 'the provider did not start'),
        );
      },
    );
  }

  #another(origin: Origin): Connection {
    const connection = new Connection(origin, this.#options, IDLE_MS, (closed) => this.#forget(closed));
    this.#all.add(connection);
    return connection;
  }

  /** The call is over. A connection that is closed makes room for another. */
  release(connection: Connection): void {
    const waiting = this.#waiting[this.#next];
    if (waiting === undefined) {
      if (connection.closed) return;
      connection.idleSince = this.#clock.monotonic();
      this.#free.push(connection);
      return;
    }
    this.#next++;
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    }
    if (connection.closed) this.acquire(waiting);
    else waiting.take(connection);
  }

  #forget(connection: Connection): void {
    this.#all.delete(connection);
    const at = this.#free.lastIndexOf(connection);
    if (at >= 0) this.#free.splice(at, 1);
  }

  /** Closes connections that have been idle for too long. Runs every few seconds by itself. */
  sweep(): void {
    const now = this.#clock.monotonic();
    for (const connection of [...this.#free]) {
      if (now - connection.idleSince > connection.idleMs) connection.destroy();
    }
  }

  close(): void {
    this.#closed = true;
    clearInterval(this.#sweeping);
    for (const connection of [...this.#all]) connection.destroy();
    const waiting = this.#waiting.slice(this.#next);
    this.#waiting = [];
    this.#next = 0;
    for (const one of waiting) one.failed(new ConnectionError('ECONNCLOSED', 'the server is stopping'));
  }
}
