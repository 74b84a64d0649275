// The connections to one origin: a stack of undici clients, each with one call at a time.
//
// Last in, first out: hot connections stay hot and idle ones close by themselves. Taking one is a pop, where undici's
// own pool looks through all of them for each call (measured: 5 % of a call, and 30 MB). When all that are allowed
// are busy a call waits its turn; how many may wait is bounded by the calls that the server admits.

import { Client } from 'undici';

/** Waits for a connection; `take` is called once, at once or when one is free. */
export interface Waiting {
  take(client: Client): void;
}

export class Connections {
  readonly #origin: string;
  readonly #options: Client.Options;
  readonly #most: number;
  readonly #free: Client[] = [];
  readonly #all = new Set<Client>();
  /** Those that wait, oldest first from `#next`. */
  #waiting: Waiting[] = [];
  #next = 0;

  constructor(origin: string, most: number, options: Client.Options) {
    this.#origin = origin;
    this.#most = most;
    this.#options = { ...options, pipelining: 1 };
  }

  /** Gives a connection to `waiting`, now or later. What was given must be released exactly once. */
  acquire(waiting: Waiting): void {
    const client = this.#free.pop() ?? this.#another();
    if (client === undefined) this.#waiting.push(waiting);
    else waiting.take(client);
  }

  release(client: Client): void {
    const waiting = this.#waiting[this.#next];
    if (waiting === undefined) {
      this.#free.push(client);
      return;
    }
    this.#next++;
    if (this.#next === this.#waiting.length) {
      this.#waiting = [];
      this.#next = 0;
    }
    waiting.take(client);
  }

  #another(): Client | undefined {
    if (this.#all.size >= this.#most) return undefined;
    const client = new Client(this.#origin, this.#options);
    this.#all.add(client);
    return client;
  }

  async close(): Promise<void> {
    await Promise.all([...this.#all].map((client) => client.destroy()));
  }
}
