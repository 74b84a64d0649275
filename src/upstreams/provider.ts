// One provider: an OpenAI-compatible endpoint with its own credential, its connections and its state of health.
// The credential goes to this provider's origin and nowhere else, because its connections are bound to that origin.

import { isIP } from 'node:net';
import type { Bounds, ProviderConfig, Secret } from '../config/model.ts';
import type { Environment } from '../keys/model.ts';
import { isPublic } from '../platform/addresses.ts';
import type { Clock } from '../platform/clock.ts';
import { SetupError } from '../platform/errors.ts';
import { providerLookup } from './addresses.ts';
import type { Origin } from './http1/connection.ts';
import { headerLine } from './http1/connection.ts';
import { Connections } from './http1/connections.ts';

const FAILURES_TO_REST = 5;
const REST_MS = 5_000;

export class Provider {
  readonly name: string;
  /** The path below which its API lives, without a slash at the end: `/v1`. */
  readonly basePath: string;
  /**
   * Header lines sent with every call, each ended by CRLF. The provider's credential is among them. Null while the
   * credential is not to be had: then nothing is sent.
   */
  headerLines: string | null;
  readonly connections: Connections;
  readonly priority: number;
  /** Projects of these may be served by it; null: all. */
  readonly environments: readonly Environment[] | null;
  /** Calls sent, and calls that ended in a fault of the connection or a 5xx. */
  sent = 0;
  failed = 0;

  readonly #clock: Clock;
  readonly #config: ProviderConfig;
  #failuresInARow = 0;
  #restsUntil = 0;

  /** @param origin where it is reached, where the base URL does not say so: the sandbox is started when it is needed */
  constructor(config: ProviderConfig, bounds: Bounds, clock: Clock, origin?: () => Promise<Origin>) {
    this.name = config.name;
    this.basePath = config.baseUrl.pathname.replace(/\/+$/, '');
    this.priority = config.priority;
    this.environments = config.environments;
    this.#config = config;
    this.headerLines = null;
    this.use(config.credential);
    this.#clock = clock;
    if (origin === undefined) checkLiteralAddress(config);
    const at = originOf(config.baseUrl);
    this.connections = new Connections(
      origin ?? (() => at),
      config.connections,
      {
        lookup: providerLookup(config.allowPrivate),
        connectMs: bounds.connectMs,
        headBytes: bounds.headerBytes,
        tls: {},
      },
      clock,
    );
  }

  /** A provider that failed several times in a row is left alone for a moment, if there is another. */
  get rests(): boolean {
    return this.headerLines === null || this.#restsUntil > this.#clock.monotonic();
  }

  /** From now on calls are sent with this credential; null: there is none, and a provider that needs one sends nothing. */
  use(credential: Secret | null): void {
    const { auth } = this.#config;
    this.headerLines = credential === null && auth !== 'none' ? null : this.linesWith(credential);
  }

  /** Header lines with another credential for this provider, a project's own. */
  linesWith(credential: Secret | null): string {
    return headerLinesOf(this.#config, credential);
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

  close(): void {
    this.connections.close();
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

function originOf(url: URL): Origin {
  const secure = url.protocol === 'https:';
  return {
    secure,
    host: url.hostname.replace(/^\[|\]$/g, ''),
    port: url.port === '' ? (secure ? 443 : 80) : Number(url.port),
    authority: url.host,
  };
}

function headerLinesOf(config: ProviderConfig, credential: Secret | null): string {
  // Usage can be read from a body only as it is, so no coding of it is accepted.
  let lines = headerLine('user-agent', 'keygate') + headerLine('accept-encoding', 'identity');
  for (const [name, value] of Object.entries(config.headers)) lines += headerLine(name, value);
  const secret = credential?.reveal();
  if (secret === undefined || config.auth === 'none') return lines;
  return (
    lines +
    (config.auth === 'bearer'
      ? headerLine('authorization', `Bearer ${secret}`)
      : headerLine(config.auth, secret))
  );
}
