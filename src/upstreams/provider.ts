// One provider: an OpenAI-compatible endpoint with its own credential, its connections and its state of health.
// The credential goes to this provider's origin and nowhere else, because its connections are bound to that origin.

import { isIP } from 'node:net';
import type { buildConnector } from 'undici';
import type { Bounds, ProviderConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import { SetupError } from '../platform/errors.ts';
import { guardedLookup, isPublic } from './addresses.ts';
import { Connections } from './connections.ts';

const FAILURES_TO_REST = 5;
const REST_MS = 5_000;
const KEEP_ALIVE_MS = 30_000;

export class Provider {
  readonly name: string;
  /** The path below which its API lives, without a slash at the end: `/v1`. */
  readonly basePath: string;
  /** Sent with every call, flat: name, value. The provider's credential is among them. */
  readonly headers: readonly string[];
  readonly connections: Connections;
  readonly priority: number;
  /** Calls sent, and calls that ended in a fault of the connection or a 5xx. */
  sent = 0;
  failed = 0;

  readonly #clock: Clock;
  #failuresInARow = 0;
  #restsUntil = 0;

  /** @param connect connects in the provider's own way: the sandbox is reached over a socket of its own */
  constructor(config: ProviderConfig, bounds: Bounds, clock: Clock, connect?: buildConnector.connector) {
    this.name = config.name;
    this.basePath = config.baseUrl.pathname.replace(/\/+$/, '');
    this.priority = config.priority;
    this.headers = Object.freeze(headersOf(config));
    this.#clock = clock;
    if (connect === undefined) checkLiteralAddress(config);
    this.connections = new Connections(config.baseUrl.origin, config.connections, {
      // The road's own sweep ends calls that idle; two clocks for one bound would disagree.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
      maxHeaderSize: bounds.headerBytes,
      connect: connect ?? {
        timeout: bounds.connectMs,
        lookup: guardedLookup(config.allowPrivate),
      },
    });
  }

  /** A provider that failed several times in a row is left alone for a moment, if there is another. */
  get rests(): boolean {
    return this.#restsUntil > this.#clock.monotonic();
  }

  succeeded(): void {
    this.#failuresInARow = 0;
  }

  /** The connection failed or the provider answered 5xx. */
  fell(): void {
    this.failed++;
    if (++this.#failuresInARow >= FAILURES_TO_REST) {
      this.#restsUntil = this.#clock.monotonic() + REST_MS;
    }
  }

  async close(): Promise<void> {
    await this.connections.close();
  }
}

/** An address written as such is never looked up, so it is checked here. */
function checkLiteralAddress(config: ProviderConfig): void {
  const host = config.baseUrl.hostname.replace(/^\[|\]$/g, '');
  if (config.allowPrivate || isIP(host) === 0 || isPublic(host)) return;
  throw new SetupError(
    `Provider ${config.name} is at ${host}, which is not a public address. Set allow_private: true for it if that is meant.`,
  );
}

function headersOf(config: ProviderConfig): string[] {
  const headers = ['user-agent', 'keygate', 'accept-encoding', 'identity'];
  for (const [name, value] of Object.entries(config.headers)) headers.push(name, value);
  const secret = config.credential?.reveal();
  if (secret === undefined || config.auth === 'none') return headers;
  if (config.auth === 'bearer') headers.push('authorization', `Bearer ${secret}`);
  else headers.push(config.auth, secret);
  return headers;
}
