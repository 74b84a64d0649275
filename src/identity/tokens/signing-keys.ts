// The keys that access tokens are signed with. Each node makes its own and keeps the private half in memory only; the
// public half is in the store, where every node reads it. So tokens of one node are good on all of them and outlive
// its restart, and whoever reads the database, or a backup of it, cannot make one.
//
// A node signs with a key only when every other node has had time to read it: they learn of it as of every change,
// within a second (`Store.follow`), and the key is used after one and a half.

import { createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from 'node:crypto';
import type { Clock } from '../../platform/clock.ts';
import { randomBase62 } from '../../platform/ids.ts';
import type { Change, Store } from '../../store/store.ts';
import { TOKEN_SECONDS_MAX } from '../workload/model.ts';

/** A key signs for a day. */
const SIGNS_MS = 24 * 3_600_000;
/** It may be a little more when the store does not take the next one. */
const GRACE_MS = 3_600_000;
/** Until every node has read a new key. */
const SPREAD_MS = 1_500;

interface Signer {
  readonly id: string;
  readonly key: KeyObject;
  readonly madeAt: number;
}

export type Wait = (ms: number) => Promise<void>;

export class SigningKeys {
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #wait: Wait;
  readonly #public = new Map<string, { readonly key: KeyObject; readonly expiresAt: number }>();
  #signer: Signer | null = null;
  #making: Promise<Signer> | null = null;

  constructor(store: Store, clock: Clock, wait: Wait = waitMs) {
    this.#store = store;
    this.#clock = clock;
    this.#wait = wait;
  }

  /** Reads the public keys; these ones, or all. */
  async read(ids?: readonly string[]): Promise<void> {
    let query = this.#store.db.selectFrom('token_keys').selectAll();
    if (ids !== undefined) query = query.where('id', 'in', ids);
    for (const row of await query.execute()) {
      const key = createPublicKey({
        key: Buffer.from(row.public_key, 'base64'),
        format: 'der',
        type: 'spki',
      });
      if (key.asymmetricKeyType === 'ed25519') this.#public.set(row.id, { key, expiresAt: row.expires_at });
    }
  }

  async take(changes: readonly Change[]): Promise<void> {
    const ids = changes.filter(({ kind }) => kind === 'token_key').map(({ objectId }) => objectId);
    if (ids.length > 0) await this.read([...new Set(ids)]);
  }

  /** Whether the signature over `text` is one of a key of this installation. */
  verify(keyId: string, text: string, signature: string): boolean {
    const known = this.#public.get(keyId);
    if (known === undefined) return false;
    if (known.expiresAt <= this.#clock.now()) {
      this.#public.delete(keyId);
      return false;
    }
    return verify(null, Buffer.from(text), known.key, Buffer.from(signature, 'base64url'));
  }

  /** Signs what `text` makes of the key's id. Rejects if there is no key yet and the store takes none. */
  async sign(text: (keyId: string) => string): Promise<string> {
    const { id, key } = await this.#current();
    const signed = text(id);
    return `${signed}.${sign(null, Buffer.from(signed), key).toString('base64url')}`;
  }

  /** Makes the key ahead of the first token. */
  async warm(): Promise<void> {
    await this.#current();
  }

  async #current(): Promise<Signer> {
    const age = this.#signer === null ? Number.POSITIVE_INFINITY : this.#clock.now() - this.#signer.madeAt;
    if (this.#signer !== null && age < SIGNS_MS) return this.#signer;
    this.#making ??= this.#make().finally(() => {
      this.#making = null;
    });
    if (this.#signer === null || age >= SIGNS_MS + GRACE_MS) return await this.#making;
    // The old one signs until the new one is known everywhere; a failure is met when the grace is over.
    this.#making.catch(() => {});
    return this.#signer;
  }

  async #make(): Promise<Signer> {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519');
    const id = randomBase62(16);
    const madeAt = this.#clock.now();
    await this.#store.write(async (tx) => {
      await tx.deleteFrom('token_keys').where('expires_at', '<=', madeAt).execute();
      await tx
        .insertInto('token_keys')
        .values({
          id,
          public_key: publicKey.export({ format: 'der', type: 'spki' }).toString('base64'),
          created_at: madeAt,
          expires_at: madeAt + SIGNS_MS + GRACE_MS + 2 * TOKEN_SECONDS_MAX * 1000,
        })
        .execute();
      await this.#store.announce(tx, 'token_key', id, madeAt);
    });
    // An embedded store has no other node.
    if (this.#store.kind === 'postgres') await this.#wait(SPREAD_MS);
    this.#signer = { id, key: privateKey, madeAt };
    return this.#signer;
  }
}

function waitMs(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
