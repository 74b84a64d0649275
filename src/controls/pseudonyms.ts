// Names of end users where a project's data retention does not let them be kept: replaced by a keyed digest, so that
// limits and budgets still tell one from another, and nobody who reads the store learns who they are. The key is made
// at the first start and is the same on all nodes; whoever has it can only test names, not read them.

import { createHmac, randomBytes } from 'node:crypto';
import type { ProjectId } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';

const NAME = 'end_user_key';
const KEY_BYTES = 32;
/** 128 bits tell any two end users apart. */
const CHARACTERS = 22;

export class Pseudonyms {
  readonly #key: Buffer;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** What stands for an end user of this project; the same name is another one in another project. */
  of(projectId: ProjectId, endUser: string): string {
    // The project's id has no NUL in it: the two cannot run into each other.
    const digest = createHmac('sha256', this.#key).update(`${projectId}\0${endUser}`).digest('base64url');
    return `anon_${digest.slice(0, CHARACTERS)}`;
  }
}

/** Reads the installation's key, or makes it. */
export async function openPseudonyms(store: Store): Promise<Pseudonyms> {
  const value = (await keptKey(store.db)) ?? (await store.write(makeKey));
  return new Pseudonyms(Buffer.from(value, 'hex'));
}

async function makeKey(tx: Tx): Promise<string> {
  // Another node may have made it a moment ago.
  const kept = await keptKey(tx);
  if (kept !== undefined) return kept;
  const value = randomBytes(KEY_BYTES).toString('hex');
  await tx.insertInto('meta').values({ name: NAME, value }).execute();
  return value;
}

async function keptKey(db: Db | Tx): Promise<string | undefined> {
  const row = await db.selectFrom('meta').select('value').where('name', '=', NAME).executeTakeFirst();
  return row?.value;
}
