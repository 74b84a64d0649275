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
const KNOWN_MOST = 10_000;

export class Pseudonyms {
  readonly #key: Buffer;
  /** Of those that called lately. */
  #known = new Map<string, string>();

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** What stands for an end user of this project; the same name is another one in another project. */
  of(projectId: ProjectId, endUser: string): string {
    // The project's id has no NUL in it: the two cannot run into each other.
    const name = `${projectId}\0${endUser}`;
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    const digest = createHmac('sha256', this.#key).update(name).digest('base64url');
    const made = `anon_${digest.slice(0, CHARACTERS)}`;
    // Callers name end users as they like: memory is bounded, only speed is lost.
    if (this.#known.size >= KNOWN_MOST) this.#known = new Map();
    this.#known.set(name, made);
    return made;
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
