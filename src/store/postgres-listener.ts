// Wakes this node when another one has committed a change: a connection that LISTENs, and a look every 500 ms in
// case a notification was lost with its connection. While PostgreSQL answers, a change is therefore noticed within
// 500 ms and one query, under the second that keygate promises, and usually within a few milliseconds.

import pg, { type ClientConfig } from 'pg';

export const CHANNEL = 'keygate_changes';
const POLL_MS = 500;
const FIRST_RETRY_MS = 250;
const LAST_RETRY_MS = 5_000;

export class ChangeListener {
  readonly #config: ClientConfig;
  readonly #wake: () => void;
  readonly #onError: (error: unknown) => void;
  readonly #poll: NodeJS.Timeout;
  #client: pg.Client | null = null;
  #retry: NodeJS.Timeout | undefined;
  #retryMs = FIRST_RETRY_MS;
  #stopped = false;

  constructor(config: ClientConfig, wake: () => void, onError: (error: unknown) => void) {
    this.#config = config;
    this.#wake = wake;
    this.#onError = onError;
    this.#poll = setInterval(wake, POLL_MS).unref();
    void this.#listen();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#poll);
    clearTimeout(this.#retry);
    const client = this.#client;
    this.#client = null;
    await client?.end();
  }

  async #listen(): Promise<void> {
    const client = new pg.Client(this.#config);
    this.#client = client;
    client.on('notification', this.#wake);
    client.on('error', (error) => this.#lost(client, error));
    client.on('end', () =>
      this.#lost(client, new Error('PostgreSQL closed the connection that listens for changes.')),
    );
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.#retryMs = FIRST_RETRY_MS;
      // What was committed while nobody listened.
      this.#wake();
    } catch (error) {
      this.#lost(client, error);
    }
  }

  /** Once a connection: it is given up, and another is tried a little later. */
  #lost(client: pg.Client, error: unknown): void {
    if (this.#client !== client || this.#stopped) return;
    this.#client = null;
    // One report for an outage.
    if (this.#retryMs === FIRST_RETRY_MS) this.#onError(error);
    client.end().catch(() => {});
    this.#retry = setTimeout(() => void this.#listen(), this.#retryMs).unref();
    this.#retryMs = Math.min(this.#retryMs * 2, LAST_RETRY_MS);
  }
}
