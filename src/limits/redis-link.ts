// The connection to Valkey or Redis as the limiter needs it: a script runs and answers within a time-out, or fails; it
// never hangs. The client library speaks the protocol; what it leaves open is here:
//
// - A deadline for each command. The client's own covers only commands that were not written yet.
// - A circuit. After FAILURES failures in a row, or when the connection is lost, the link is down: commands fail at once
//   instead of each waiting for its time-out. The connection is then thrown away, since a peer that vanished without a
//   word is not noticed otherwise, and a new one is tried after `retryMs`, then twice as late each time up to
//   RETRY_MOST_MS. A try ends within HANDSHAKE_MS, answered or not. The client's own reconnection is off: it has no
//   bound on a server that takes a connection and says nothing.
// - A heartbeat that tells how many nodes there are.

import { createClient } from '@redis/client';
import { HEARTBEAT, SCRIPTS, type Script } from './redis-scripts.ts';

export interface LinkOptions {
  readonly url: string;
  readonly prefix: string;
  /** This node's name among the nodes. */
  readonly node: string;
  /** How many nodes there are while nobody could say. */
  readonly nodes: number;
  readonly timeoutMs: number;
  readonly retryMs: number;
  readonly heartbeatMs: number;
  readonly onChange: (state: LinkState) => void;
}

export interface LinkState {
  readonly up: boolean;
  /** Why it is down; empty when it is up. Holds no credential. */
  readonly reason: string;
  /** Nodes last known. */
  readonly nodes: number;
}

const FAILURES = 3;
const HANDSHAKE_MS = 2_000;
const RETRY_MOST_MS = 5_000;
/** A node that was silent for so many heartbeats is gone. */
const MISSED = 5;
const QUEUE = 50_000;

type Client = ReturnType<typeof newClient>;

interface Outstanding {
  readonly deadline: number;
  expire: () => void;
}

export class RedisLink {
  up = false;
  nodes: number;
  timeouts = 0;
  errors = 0;
  connections = 0;

  private readonly options: LinkOptions;
  private client: Client | null = null;
  private readonly outstanding = new Set<Outstanding>();
  private deadlines: NodeJS.Timeout | null = null;
  private retry: NodeJS.Timeout | null = null;
  private retryMs: number;
  private readonly beat: NodeJS.Timeout;
  private failures = 0;
  private announced: boolean | null = null;
  private closed = false;

  constructor(options: LinkOptions) {
    this.options = options;
    this.nodes = options.nodes;
    this.retryMs = options.retryMs;
    this.connect();
    this.beat = setInterval(() => this.heartbeat(), options.heartbeatMs).unref();
  }

  /**
   * Runs a script. `done` is called exactly once, within the time-out: with the reply, or with a Failure. An answer that
   * comes after the time-out goes to `late`.
   */
  run(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    done: (reply: unknown) => void,
    late?: (reply: unknown) => void,
  ): void {
    const { client } = this;
    if (!this.up || client === null) return done(DOWN);
    this.send(client, script, keys, args, done, late);
  }

  /** Waits for what is outstanding, which its time-out bounds, and lets go of the connection. */
  async close(): Promise<void> {
    if (this.closed) return;
    while (this.outstanding.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    this.closed = true;
    this.up = false;
    clearInterval(this.beat);
    if (this.retry !== null) clearTimeout(this.retry);
    if (this.deadlines !== null) clearTimeout(this.deadlines);
    discard(this.client);
    this.client = null;
  }

  /** Waits until it is up, at most `ms` milliseconds; returns whether it is. */
  ready(ms: number): Promise<boolean> {
    if (this.up) return Promise.resolve(true);
    return new Promise((resolve) => {
      const until = performance.now() + ms;
      const look = setInterval(() => {
        if (!this.up && performance.now() < until && !this.closed) return;
        clearInterval(look);
        resolve(this.up);
      }, 5);
    });
  }

  private connect(): void {
    if (this.closed) return;
    const client = newClient(this.options);
    this.client = client;
    this.connections++;
    const patience = setTimeout(() => this.lost(client, 'it does not answer'), HANDSHAKE_MS);
    client.on('error', (error: unknown) => this.lost(client, reasonOf(error)));
    client
      .connect()
      .then(() => Promise.all(SCRIPTS.map((script) => client.sendCommand(['SCRIPT', 'LOAD', script.text]))))
      .then(
        () => this.found(client),
        (error: unknown) => this.lost(client, reasonOf(error)),
      )
      .finally(() => clearTimeout(patience));
  }

  private send(
    client: Client,
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    done: (reply: unknown) => void,
    late?: (reply: unknown) => void,
  ): void {
    let over = false;
    const waiting: Outstanding = {
      deadline: performance.now() + this.options.timeoutMs,
      expire: () => {
        over = true;
        this.outstanding.delete(waiting);
        this.timeouts++;
        this.failed(client, 'it does not answer in time');
        done(TIMED_OUT);
      },
    };
    this.outstanding.add(waiting);
    this.watch();
    const tail = [String(keys.length), ...keys, ...args];
    const evaluated = client.sendCommand(['EVALSHA', script.sha, ...tail]).catch((error: unknown) => {
      if (!isMissing(error)) throw error;
      return client.sendCommand(['EVAL', script.text, ...tail]);
    });
    evaluated.then(
      (reply) => {
        if (over) return late?.(reply);
        this.outstanding.delete(waiting);
        this.failures = 0;
        this.retryMs = this.options.retryMs;
        done(reply);
      },
      (error: unknown) => {
        if (over) return;
        this.outstanding.delete(waiting);
        this.errors++;
        this.failed(client, reasonOf(error));
        done(DOWN);
      },
    );
  }

  /** One timer for all commands: they have the same time-out, so the oldest is the first to expire. */
  private watch(): void {
    if (this.deadlines !== null) return;
    const [oldest] = this.outstanding;
    if (oldest === undefined) return;
    this.deadlines = setTimeout(
      () => {
        this.deadlines = null;
        const now = performance.now();
        for (const each of this.outstanding) {
          if (each.deadline > now) break;
          each.expire();
        }
        this.watch();
      },
      Math.max(1, Math.ceil(oldest.deadline - performance.now())),
    );
  }

  private failed(client: Client, reason: string): void {
    this.failures++;
    if (this.failures >= FAILURES) this.lost(client, reason);
  }

  private found(client: Client): void {
    if (client !== this.client || this.closed) return;
    this.failures = 0;
    this.up = true;
    this.announce('');
    this.heartbeat();
  }

  private lost(client: Client, reason: string): void {
    if (client !== this.client || this.closed) return;
    this.client = null;
    this.up = false;
    discard(client);
    this.announce(reason);
    // A little chance keeps the nodes from coming back all at once.
    this.retry = setTimeout(() => this.connect(), this.retryMs * (0.8 + 0.4 * Math.random())).unref();
    this.retryMs = Math.min(this.retryMs * 2, RETRY_MOST_MS);
  }

  private heartbeat(): void {
    const { client } = this;
    if (!this.up || client === null) return;
    const { prefix, node, heartbeatMs } = this.options;
    const args = [node, String(heartbeatMs * MISSED)];
    this.send(client, HEARTBEAT, [`${prefix}{nodes}`], args, (reply) => {
      if (typeof reply === 'number' && reply > 0) this.nodes = reply;
    });
  }

  private announce(reason: string): void {
    if (this.announced === this.up) return;
    this.announced = this.up;
    this.options.onChange({ up: this.up, reason, nodes: this.nodes });
  }
}

function newClient({ url }: LinkOptions) {
  return createClient({
    url,
    disableOfflineQueue: true,
    commandsQueueMaxLength: QUEUE,
    disableClientInfo: true,
    maintNotifications: 'disabled',
    socket: { connectTimeout: HANDSHAKE_MS, reconnectStrategy: false },
  });
}

function discard(client: Client | null): void {
  // A client whose connection is gone already refuses to be destroyed.
  if (client?.isOpen) client.destroy();
}

/** What `done` gets instead of a reply. */
export const DOWN = Symbol('down');
export const TIMED_OUT = Symbol('timed out');

function isMissing(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('NOSCRIPT');
}

/** An error's own words; addresses are the administrator's, credentials are never part of them. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors[0]);
  return error instanceof Error && error.message !== ''
    ? error.message.slice(0, 200)
    : 'the connection was lost';
}
