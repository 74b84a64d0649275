// The public keys of issuers, fetched by discovery (OpenID Connect Discovery 1.0 section 4) or as they were uploaded.
//
// Fetched keys are good for ten minutes. A key id that is not among them fetches again, because issuers rotate, but at
// most once in thirty seconds a provider, so that invented ids cannot drive requests. When the issuer does not answer,
// keys that were fetched go on for an hour; after that its tokens are refused as "try again", never as wrong.

import { z } from 'zod';
import type { Clock } from '../../platform/clock.ts';
import type { Outgoing } from '../../platform/outgoing.ts';
import { fetchedKeys } from './jwks.ts';
import type { PublicJwk } from './model.ts';
import type { Provider } from './store.ts';

const FRESH_MS = 10 * 60_000;
const STALE_MS = 60 * 60_000;
const AGAIN_MS = 30_000;
const DOCUMENT_MAX = 256 * 1024;
const TIMEOUT_MS = 5_000;
const PROVIDERS_KEPT = 1_000;

const Discovery = z.object({ issuer: z.string(), jwks_uri: z.string().max(2048) });

/** The issuer's keys cannot be had now. The message is for the administrator: it names the host at most. */
export class KeysUnavailable extends Error {
  override readonly name = 'KeysUnavailable';
}

interface Kept {
  readonly generation: number;
  keys: ReadonlyMap<string, PublicJwk>;
  /** Monotonic; negative infinity: never. */
  fetchedAt: number;
  triedAt: number;
  trying: Promise<void> | null;
  problem: string;
}

export class IssuerKeys {
  readonly #outgoing: Pick<Outgoing, 'send'>;
  readonly #clock: Clock;
  readonly #kept = new Map<string, Kept>();

  constructor(outgoing: Pick<Outgoing, 'send'>, clock: Clock) {
    this.#outgoing = outgoing;
    this.#clock = clock;
  }

  /** The key of this id; undefined if the issuer has none. @throws KeysUnavailable */
  async find(provider: Provider, kid: string): Promise<PublicJwk | undefined> {
    const kept = this.#of(provider);
    if (provider.jwks !== null) return kept.keys.get(kid);
    const age = this.#clock.monotonic() - kept.fetchedAt;
    if (age >= FRESH_MS || !kept.keys.has(kid)) await this.#refresh(provider, kept);
    const now = this.#clock.monotonic();
    if (now - kept.fetchedAt >= STALE_MS) throw new KeysUnavailable(kept.problem);
    return kept.keys.get(kid);
  }

  #of(provider: Provider): Kept {
    const known = this.#kept.get(provider.id);
    if (known?.generation === provider.generation) return known;
    if (this.#kept.size >= PROVIDERS_KEPT) this.#kept.clear();
    const uploaded = provider.jwks === null ? null : fetchedKeys(JSON.parse(provider.jwks));
    const kept: Kept = {
      generation: provider.generation,
      keys: uploaded ?? new Map(),
      fetchedAt: Number.NEGATIVE_INFINITY,
      triedAt: Number.NEGATIVE_INFINITY,
      trying: null,
      problem: 'its keys were not fetched yet',
    };
    this.#kept.set(provider.id, kept);
    return kept;
  }

  /** One fetch at a time, and none within thirty seconds of the last. */
  async #refresh(provider: Provider, kept: Kept): Promise<void> {
    if (kept.trying !== null) return await kept.trying;
    if (this.#clock.monotonic() - kept.triedAt < AGAIN_MS) return;
    kept.triedAt = this.#clock.monotonic();
    kept.trying = this.#fetch(provider)
      .then((keys) => {
        kept.keys = keys;
        kept.fetchedAt = this.#clock.monotonic();
      })
      .catch((error: unknown) => {
        kept.problem = error instanceof Error ? error.message : 'its keys could not be fetched';
      })
      .finally(() => {
        kept.trying = null;
      });
    await kept.trying;
  }

  async #fetch({ issuer, discovery_url }: Provider): Promise<ReadonlyMap<string, PublicJwk>> {
    const url = discovery_url ?? `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    const document = Discovery.safeParse(await this.#json(url));
    if (!document.success) throw new KeysUnavailable('its discovery document has no issuer and jwks_uri');
    // Section 4.3: else one issuer could be answered for by the document of another.
    if (document.data.issuer !== issuer)
      throw new KeysUnavailable('its discovery document is of another issuer');
    const keys = fetchedKeys(await this.#json(document.data.jwks_uri));
    if (keys.size === 0) throw new KeysUnavailable('its key set holds no usable key');
    return keys;
  }

  async #json(url: string): Promise<unknown> {
    const reply = await this.#outgoing.send({
      url,
      headers: { accept: 'application/json' },
      timeoutMs: TIMEOUT_MS,
      maxBytes: DOCUMENT_MAX,
    });
    if (reply.status !== 200) throw new KeysUnavailable(`it answered ${reply.status}`);
    try {
      return JSON.parse(reply.body.toString());
    } catch {
      throw new KeysUnavailable('what it answered is no JSON');
    }
  }
}
