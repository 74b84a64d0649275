// Who keygate is to a cloud that trusts OpenID Connect issuers: tokens that it signs itself (RS256, which all of them
// take), so that no cloud's long-lived key has to be kept. The cloud is given the issuer and the public key once; the
// private key is sealed in the store, and made when the first token is.

import {
  type CryptoKey,
  exportJWK,
  exportPKCS8,
  generateKeyPair,
  importPKCS8,
  type JWK,
  SignJWT,
} from 'jose';
import type { Clock } from '../platform/clock.ts';
import { newId, type OrganizationId } from '../platform/ids.ts';
import type { Place } from '../secrets/purpose.ts';
import type { SealedColumn } from '../secrets/rewrap.ts';
import type { Seals } from '../secrets/seals.ts';
import type { Store } from '../store/store.ts';
import { CloudError } from './error.ts';

const LIFE_SECONDS = 600;
const NAME = 'cloud_token_key';

interface Signer {
  readonly key: CryptoKey;
  readonly kid: string;
}

export class CloudIdentity {
  readonly #store: Store;
  readonly #seals: Seals;
  readonly #clock: Clock;
  readonly #issuer: string | null;
  #signer: Promise<Signer> | null = null;

  constructor(store: Store, seals: Seals, clock: Clock, issuer: string | null) {
    this.#store = store;
    this.#seals = seals;
    this.#clock = clock;
    this.#issuer = issuer;
  }

  get issuer(): string | null {
    return this.#issuer;
  }

  /** A token for one cloud: `sub` says whose key or storage it asks for, `aud` who it is for. */
  async token(subject: string, audience: string): Promise<string> {
    if (this.#issuer === null) {
      throw new CloudError(
        'unavailable',
        'keygate makes no tokens for clouds: set clouds.identity.issuer to the address that they know it by.',
      );
    }
    const { key, kid } = await this.#sign();
    const now = Math.floor(this.#clock.now() / 1000);
    return await new SignJWT()
      .setProtectedHeader({ alg: 'RS256', kid, typ: 'JWT' })
      .setIssuer(this.#issuer)
      .setSubject(subject)
      .setAudience(audience)
      .setIssuedAt(now)
      .setExpirationTime(now + LIFE_SECONDS)
      .setJti(newId('secret_'))
      .sign(key);
  }

  /** The public half, for the cloud: `{"keys":[…]}`. */
  async keySet(): Promise<{ keys: JWK[] }> {
    const { key, kid } = await this.#sign();
    const { kty, n, e } = await exportJWK(key);
    return {
      keys: [{ ...(kty && { kty }), ...(n && { n }), ...(e && { e }), kid, alg: 'RS256', use: 'sig' }],
    };
  }

  async #sign(): Promise<Signer> {
    this.#signer ??= this.#load().catch((error: unknown) => {
      this.#signer = null;
      throw error;
    });
    return await this.#signer;
  }

  async #load(): Promise<Signer> {
    const kept = await this.#kept();
    if (kept !== undefined) return kept;
    const { privateKey } = await generateKeyPair('RS256', { modulusLength: 2048, extractable: true });
    const pem = await exportPKCS8(privateKey);
    const kid = newId('secret_');
    const sealed = await this.#seals.seal(placeOf(kid), pem);
    await this.#store.write(async (tx) => {
      await tx
        .insertInto('sealed_keys')
        .values({ name: NAME, id: kid, sealed, created_at: this.#clock.now() })
        .onConflict((conflict) => conflict.column('name').doNothing())
        .execute();
    });
    // Another node may have been first: then its key is everybody's.
    const now = await this.#kept();
    if (now === undefined) throw new Error('the key that signs tokens was not kept');
    return now;
  }

  async #kept(): Promise<Signer | undefined> {
    const row = await this.#store.db
      .selectFrom('sealed_keys')
      .selectAll()
      .where('name', '=', NAME)
      .executeTakeFirst();
    if (row === undefined) return undefined;
    const pem = (await this.#seals.open(placeOf(row.id), row.sealed)).toString('utf8');
    // Its public half is read from it too.
    return { key: await importPKCS8(pem, 'RS256', { extractable: true }), kid: row.id };
  }
}

function placeOf(id: string): Place {
  // The installation's, which belongs to no organization.
  return { organizationId: 'installation' as OrganizationId, projectId: null, purpose: 'signing_key', id };
}

/** For wrapping again with a new root key. */
export const sealedKeysColumn: SealedColumn = {
  name: 'signing keys',
  async page(db, after, limit) {
    const rows = await db
      .selectFrom('sealed_keys')
      .selectAll()
      .where('name', '>', after)
      .orderBy('name')
      .limit(limit)
      .execute();
    return rows.map((row) => ({ key: row.name, place: placeOf(row.id), sealed: row.sealed }));
  },
  async replace(tx, name, before, after) {
    await tx
      .updateTable('sealed_keys')
      .set({ sealed: after })
      .where('name', '=', name)
      .where('sealed', '=', before)
      .execute();
  },
};
