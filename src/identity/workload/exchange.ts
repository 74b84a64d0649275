// Token exchange (RFC 8693): a proof of identity becomes an access token of a service account, by the provider and the
// federation rule that trust it.
//
//   which provider and service account → is the proof genuine → which rule does it match → write it down → mint
//
// What is wrong is written to the audit log of the provider's organization; the caller learns `invalid_grant` and no
// more. A token ends with the proof that it was given for, and after the configured time at the latest.

import { createHash } from 'node:crypto';
import { BoundedLog } from '../../audit/bounded.ts';
import { append } from '../../audit/chain.ts';
import type { Attribution, AuditActor } from '../../audit/model.ts';
import type { Confirmation } from '../../keys/model.ts';
import type { Clock } from '../../platform/clock.ts';
import type { OrganizationId, ProjectId } from '../../platform/ids.ts';
import type { Store, Tx } from '../../store/store.ts';
import type { ClientCertificate } from '../certificates/client-certificate.ts';
import { acceptedBy } from '../proof/prove.ts';
import type { AccessTokens, MintedToken } from '../tokens/access-tokens.ts';
import { type IssuerKeys, KeysUnavailable } from './issuer-keys.ts';
import { matches } from './model.ts';
import { matchersOf, transformationsOf } from './objects.ts';
import type { Provider, Rule } from './store.ts';
import { SubjectTokenRefused, verifySubjectToken } from './subject-token.ts';

/** What identity the presenter proved. */
export interface Proven {
  readonly claims: Readonly<Record<string, unknown>>;
  readonly subject: string;
  /** Names the proof, so that it can be taken once; null: nothing does. */
  readonly proofId: string | null;
  /** Seconds since the epoch: when the proof ends. */
  readonly expires: number;
  readonly confirmation: Confirmation | null;
}

export interface ExchangeRequest {
  readonly providerId: string;
  readonly serviceAccountId: string;
  readonly proof:
    | { readonly type: 'oidc'; readonly token: string }
    /** The client certificate of the connection, which somebody must still trust. */
    | { readonly type: 'x509'; readonly certificate: ClientCertificate };
  /** The key that the token is to be bound to, where the caller proved to hold one. */
  readonly confirmation: Confirmation | null;
  readonly address: string;
}

export type Exchanged =
  | { readonly kind: 'issued'; readonly token: MintedToken; readonly seconds: number }
  | { readonly kind: 'refused' }
  /** Something that it takes is not there now. */
  | { readonly kind: 'later' };

export interface ExchangeDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly tokens: AccessTokens;
  readonly issuers: IssuerKeys;
  /** The longest life of an access token, in seconds. */
  readonly lifetimeSeconds: number;
  readonly onError: (error: unknown) => void;
}

export class Exchange {
  readonly #deps: ExchangeDeps;
  readonly #refusals: BoundedLog;

  constructor(deps: ExchangeDeps) {
    this.#deps = deps;
    this.#refusals = new BoundedLog(deps.clock);
  }

  /** Rejects if the store does. */
  async exchange(request: ExchangeRequest): Promise<Exchanged> {
    const provider = await this.#provider(request.providerId);
    // Of a provider that is not there, there is no organization whose log could be told.
    if (provider === undefined) return { kind: 'refused' };
    try {
      if (provider.enabled !== 1) throw new SubjectTokenRefused('provider_disabled');
      if (provider.type !== request.proof.type) throw new SubjectTokenRefused('proof_of_another_type');
      const rules = await this.#rules(provider.id, request.serviceAccountId);
      if (rules.length === 0) throw new SubjectTokenRefused('no_rule_for_service_account');
      const proven = await this.#proven(request, provider);
      // CEL is large, and loaded with the first exchange.
      const { attributesOf } = await import('./attributes.ts');
      const attributes = attributesOf(proven.claims, transformationsOf(provider));
      const { proof } = request;
      const trusting = proof.type === 'oidc' ? rules : await this.#trusting(rules, proof.certificate);
      const rule = trusting.find((candidate) => matches(matchersOf(candidate), attributes));
      if (rule === undefined) throw new SubjectTokenRefused('no_rule_matches');
      return await this.#issue(request, provider, rule, proven);
    } catch (error) {
      if (error instanceof KeysUnavailable) {
        await this.#tell(request, provider, `issuer_keys_unavailable: ${error.message}`);
        return { kind: 'later' };
      }
      if (!(error instanceof SubjectTokenRefused)) throw error;
      await this.#tell(request, provider, error.reason);
      return { kind: 'refused' };
    }
  }

  async #provider(id: string): Promise<Provider | undefined> {
    // By id alone: the caller is nobody yet, and the provider says whose it is.
    return await this.#deps.store.db
      .selectFrom('workload_identity_providers')
      .selectAll()
      .where('id', '=', id)
      .executeTakeFirst();
  }

  async #rules(providerId: string, serviceAccountId: string): Promise<readonly Rule[]> {
    return await this.#deps.store.db
      .selectFrom('federation_rules')
      .selectAll()
      .where('provider_id', '=', providerId)
      .where('service_account_id', '=', serviceAccountId)
      .where('enabled', '=', 1)
      .orderBy('created_at')
      .orderBy('id')
      .execute();
  }

  async #proven({ proof, confirmation }: ExchangeRequest, provider: Provider): Promise<Proven> {
    if (proof.type === 'x509') return certificateProof(proof.certificate, provider);
    const { issuers, clock } = this.#deps;
    const { claims, subject, tokenId, expires } = await verifySubjectToken(
      proof.token,
      provider,
      issuers,
      clock,
    );
    return { claims, subject, expires, confirmation, proofId: tokenId ?? proof.token };
  }

  /** The rules whose project or organization has an authority of this certificate active. */
  async #trusting(rules: readonly Rule[], certificate: ClientCertificate): Promise<readonly Rule[]> {
    const { clock, tokens } = this.#deps;
    const trusting: Rule[] = [];
    for (const rule of rules) {
      const project = tokens.rules.get(rule.id)?.project;
      const trusts = [project?.trust, project?.organization.trust].filter((trust) => trust != null);
      if (await acceptedBy(trusts, certificate, clock.now())) trusting.push(rule);
    }
    if (trusting.length === 0) throw new SubjectTokenRefused('certificate_not_accepted');
    return trusting;
  }

  async #issue(request: ExchangeRequest, provider: Provider, rule: Rule, proven: Proven): Promise<Exchanged> {
    const { store, clock, tokens, lifetimeSeconds } = this.#deps;
    const at = clock.now();
    const seconds = Math.min(lifetimeSeconds, proven.expires - Math.floor(at / 1000));
    if (seconds <= 0) throw new SubjectTokenRefused('token_expired');
    const generation = `${rule.generation}.${provider.generation}`;
    const token = await tokens.mint(rule.id, generation, seconds, proven.confirmation);
    if (token === null) throw new SubjectTokenRefused('rule_service_account_or_project_cannot_be_used');
    const by = attributionOf(provider, request, proven.subject, at);
    await store.write(async (tx) => {
      if (provider.single_use === 1) await spend(tx, provider, proven);
      await append(tx, {
        by,
        // The column holds what newId made.
        projectId: rule.project_id as ProjectId,
        type: 'access_token.issued',
        payload: {
          id: token.id,
          data: {
            federation_rule_id: rule.id,
            service_account_id: rule.service_account_id,
            expires_at: token.expires,
            bound: proven.confirmation?.kind ?? null,
          },
        },
      });
    });
    return { kind: 'issued', token, seconds };
  }

  /** The refusal stands whether or not it could be written down. */
  async #tell(request: ExchangeRequest, provider: Provider, reason: string): Promise<void> {
    const { store, clock, onError } = this.#deps;
    const by = attributionOf(provider, request, null, clock.now());
    const write = (leftOut: number) =>
      store.write((tx) =>
        append(tx, {
          by,
          projectId: null,
          type: 'access_token.refused',
          payload: { id: provider.id, data: { reason, left_out_before: leftOut } },
        }),
      );
    await this.#refusals.record(provider.id, write).catch(onError);
  }
}

/** The token is bound to the certificate that it was given for. */
async function certificateProof(certificate: ClientCertificate, provider: Provider): Promise<Proven> {
  const { claimsOf } = await import('../certificates/claims.ts');
  const { attributesOf } = await import('./attributes.ts');
  const read = claimsOf(certificate);
  if (read === null) throw new SubjectTokenRefused('certificate_cannot_be_read');
  const subject = attributesOf(read.claims, transformationsOf(provider)).get('openai.subject');
  if (typeof subject !== 'string' || subject === '') throw new SubjectTokenRefused('no_subject_derived');
  return {
    claims: read.claims,
    subject,
    proofId: null,
    expires: Math.floor(read.expiresAt / 1000),
    confirmation: { kind: 'certificate', thumbprint: certificate.thumbprint },
  };
}

/** Takes a proof that may be taken once; refuses one that was taken before. */
async function spend(tx: Tx, provider: Provider, proven: Proven): Promise<void> {
  if (proven.proofId === null) throw new SubjectTokenRefused('proof_has_no_id');
  const digest = createHash('sha256').update(`${provider.id}\n${proven.proofId}`).digest('hex');
  await tx
    .deleteFrom('spent_subject_tokens')
    .where('expires_at', '<', proven.expires - 2 * 86_400)
    .execute();
  const { numInsertedOrUpdatedRows: taken } = await tx
    .insertInto('spent_subject_tokens')
    .values({ digest, expires_at: proven.expires })
    .onConflict((conflict) => conflict.doNothing())
    .executeTakeFirst();
  if (Number(taken) === 0) throw new SubjectTokenRefused('token_was_used_before');
}

function attributionOf(
  provider: Provider,
  { address }: ExchangeRequest,
  subject: string | null,
  at: number,
): Attribution {
  const actor: AuditActor = {
    type: 'workload',
    provider_id: provider.id,
    subject: subject === null ? null : subject.slice(0, 256),
    ip_address: address || null,
  };
  // The column holds what newId made.
  return { organizationId: provider.organization_id as OrganizationId, actor, at };
}
