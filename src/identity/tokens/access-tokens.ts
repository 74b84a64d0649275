// Access tokens: short-lived, given for a proof of identity, and stored nowhere. A token is looked up like a key: by its
// digest in memory, where it is put when its signature was verified once; what it stands for is the state of its rule,
// service account and project as they are now.

import { TOKEN_PREFIX } from '../../keys/format.ts';
import type { Confirmation, Credential } from '../../keys/model.ts';
import type { Clock } from '../../platform/clock.ts';
import { type KeyId, randomBase62 } from '../../platform/ids.ts';
import type { Change, Store } from '../../store/store.ts';
import { parseToken, readClaims, type TokenClaims, tokenText } from './format.ts';
import { type FindProject, type RuleState, RuleStates } from './rule-states.ts';
import { SigningKeys, type Wait } from './signing-keys.ts';

/** Verified tokens that are remembered; beyond it the memory starts afresh, and each is verified once more. */
const REMEMBERED_MAX = 8192;

interface Verified {
  readonly rule: RuleState;
  readonly principal: Credential;
}

export interface MintedToken {
  readonly value: string;
  readonly id: string;
  /** Seconds since the epoch. */
  readonly expires: number;
}

export interface AccessTokensOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly project: FindProject;
  readonly wait?: Wait;
}

export class AccessTokens {
  readonly rules: RuleStates;
  readonly #clock: Clock;
  readonly #keys: SigningKeys;
  readonly #verified = new Map<string, Verified>();

  constructor({ store, clock, project, wait }: AccessTokensOptions) {
    this.#clock = clock;
    this.rules = new RuleStates(store, project);
    this.#keys = new SigningKeys(store, clock, wait);
  }

  /** Reads rules and public keys, and follows them until the returned function is called. */
  async open(store: Store): Promise<() => Promise<void>> {
    const since = await store.lastChange();
    await this.rules.read();
    await this.#keys.read();
    const stop = store.follow(since, async (changes: readonly Change[]) => {
      await this.rules.take(changes);
      await this.#keys.take(changes);
    });
    return stop;
  }

  /** Makes this node's signing key ahead of the first exchange, if there is a rule to exchange under. */
  async warm(): Promise<void> {
    if (this.rules.size > 0) await this.#keys.warm();
  }

  /** Who presents this text, if it is an access token that stands. Expiry and project are for the registry to check. */
  find(presented: string, digest: string): Credential | undefined {
    if (!presented.startsWith(TOKEN_PREFIX)) return undefined;
    const known = this.#verified.get(digest);
    if (known?.rule.alive) return known.principal;
    if (known !== undefined) this.#verified.delete(digest);
    const verified = this.#verify(presented);
    if (verified === undefined) return undefined;
    if (this.#verified.size >= REMEMBERED_MAX) this.#verified.clear();
    this.#verified.set(digest, verified);
    return verified.principal;
  }

  #verify(presented: string): Verified | undefined {
    const parsed = parseToken(presented);
    if (parsed === null || !this.#keys.verify(parsed.keyId, parsed.signed, parsed.signature))
      return undefined;
    const claims = readClaims(parsed.payload);
    const rule = claims === null ? undefined : this.rules.get(claims.ruleId);
    if (claims === null || rule === undefined || rule.generation !== claims.generation) return undefined;
    if (claims.expires * 1000 <= this.#clock.now()) return undefined;
    return { rule, principal: principalOf(rule, claims) };
  }

  /**
   * A token under this rule, or null if the rule no longer gives any, or is not as it was when it was matched.
   * @param generation `rule.provider`, as they were read to match the proof
   */
  async mint(
    ruleId: string,
    generation: string,
    lifetimeSeconds: number,
    confirmation: Confirmation | null,
  ): Promise<MintedToken | null> {
    const rule = this.rules.get(ruleId);
    if (rule === undefined || rule.generation !== generation || !rule.project.active) return null;
    const expires = Math.floor(this.#clock.now() / 1000) + lifetimeSeconds;
    const id = `tok_${randomBase62(20)}`;
    const claims: TokenClaims = { ruleId, generation: rule.generation, expires, tokenId: id, confirmation };
    const value = await this.#keys.sign((keyId) => tokenText(keyId, claims));
    return { value, id, expires };
  }
}

function principalOf(rule: RuleState, claims: TokenClaims): Credential {
  return {
    // All tokens of one rule are one key to limits, budgets and records: a new token does not bring a new allowance.
    keyId: rule.id as string as KeyId,
    type: 'service_account',
    organizationId: rule.project.organizationId,
    organization: rule.project.organization,
    project: rule.project,
    ownerType: 'service_account',
    ownerId: rule.serviceAccountId,
    scopes: rule.scopes,
    models: null,
    addresses: null,
    expiresAt: claims.expires * 1000,
    confirmation: claims.confirmation,
  };
}
