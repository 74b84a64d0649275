// Where the root key comes from, and which one seals.
//
// 1. `secrets.root_key`, if the configuration has it, with `secrets.previous_root_key` beside it while a rotation lasts.
// 2. Otherwise `root.key` in the data folder: made (mode 0600) when the first secret is sealed, one key a line, the
//    newest first. It is as good as the folder's own protection, and nodes of one database need the same one.
//
// The store notes which root key its secrets are sealed with. A node that does not have that key opens nothing and
// seals nothing, and says so: two nodes that seal with keys of their own would each lose the other's secrets.

import { randomBytes } from 'node:crypto';
import { chmod, open, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock } from '../platform/clock.ts';
import { SetupError, unavailable } from '../platform/errors.ts';
import { systemCode } from '../store/data-folder.ts';
import type { Db, Store } from '../store/store.ts';
import { SealError } from './envelope.ts';
import { type DerivedKeys, KEY_BYTES, readRootKey, rootKey, rootKeyOf } from './root.ts';
import type { Secret } from './secret.ts';

const FILE = 'root.key';
const KEPT_MAX = 16;

export interface RootRingOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly dataDir: string;
  /** `secrets.root_key`; null: the file in the data folder. */
  readonly configured: Secret | null;
  readonly previous: Secret | null;
  readonly warn: (message: string) => void;
}

export class RootRing {
  readonly #options: RootRingOptions;
  /** The newest first; none until one is needed. */
  #keys: readonly DerivedKeys[];
  /** The id of the key that the store's secrets are sealed with, once that is known. */
  #registered: string | null = null;
  #sealing: Promise<DerivedKeys> | null = null;

  private constructor(options: RootRingOptions, keys: readonly DerivedKeys[]) {
    this.#options = options;
    this.#keys = keys;
  }

  /** @throws SetupError when the store's secrets are sealed with a root key that is not here */
  static async open(options: RootRingOptions): Promise<RootRing> {
    const { configured, previous, dataDir } = options;
    const keys =
      configured === null
        ? await readFileKeys(join(dataDir, FILE))
        : [configured, previous].flatMap((secret) => (secret === null ? [] : [rootKeyOf(secret)]));
    const ring = new RootRing(options, keys);
    for (const { id, current } of await registeredRoots(options.store.db)) {
      if (ring.#find(id) === undefined) throw new SetupError(ring.#missing(id));
      if (current === 1) ring.#registered = id;
    }
    return ring;
  }

  /** The key that seals. Made and written down if this is the first secret of the installation. */
  sealing(): Promise<DerivedKeys> {
    this.#sealing ??= this.#register().catch((error: unknown) => {
      this.#sealing = null;
      throw error;
    });
    return this.#sealing;
  }

  /** The root key of this id. */
  async opening(id: Buffer): Promise<DerivedKeys> {
    const wanted = id.toString('hex');
    const known = this.#find(wanted);
    if (known !== undefined) return known;
    // Another node may have sealed the first secret, or turned the key, since this one looked.
    if (this.#options.configured === null) this.#keys = await readFileKeys(this.#path);
    const found = this.#find(wanted);
    if (found !== undefined) return found;
    throw new SealError('unknown_key', this.#missing(wanted));
  }

  /** Whether the root key is the generated file, which this process may turn itself. */
  get generated(): boolean {
    return this.#options.configured === null;
  }

  get ids(): readonly string[] {
    return this.#keys.map(({ id }) => id.toString('hex'));
  }

  /** Puts a new key before the others in the file. What is sealed stays as it is until it is wrapped again. */
  async turn(): Promise<DerivedKeys> {
    if (!this.generated) throw new Error('a configured root key is turned in the configuration');
    const before = await readFileKeys(this.#path);
    await this.#writeFile([randomBytes(KEY_BYTES)]);
    this.#keys = await readFileKeys(this.#path);
    if (this.#keys.length !== before.length + 1) throw new Error('the new root key was not written');
    this.#sealing = null;
    return await this.sealing();
  }

  /** Forgets all but the newest key, when nothing is sealed with the others any more. */
  async forgetOlder(): Promise<void> {
    await this.#options.store.write(async (tx) => {
      await tx.deleteFrom('root_keys').where('current', '=', 0).execute();
    });
    const newest = this.#keys[0];
    if (!this.generated || newest === undefined || this.#keys.length < 2) return;
    const [line = ''] = (await readFile(this.#path, 'utf8')).split('\n');
    await replaceFile(this.#path, `${line}\n`);
    this.#keys = [newest];
  }

  get #path(): string {
    return join(this.#options.dataDir, FILE);
  }

  #find(id: string): DerivedKeys | undefined {
    return this.#keys.find((key) => key.id.toString('hex') === id);
  }

  async #register(): Promise<DerivedKeys> {
    const { store, clock } = this.#options;
    if (this.#keys.length === 0) {
      const current = await currentRoot(store.db);
      if (current !== null) throw this.#closed(current);
      await this.#generate();
    }
    const newest = this.#keys[0];
    if (newest === undefined) throw new Error('there is no root key');
    const id = newest.id.toString('hex');
    if (this.#registered !== id) {
      await store.write(async (tx) => {
        const current = await currentRoot(tx);
        if (current === id) return;
        if (current !== null && this.#find(current) === undefined) throw this.#closed(current);
        await tx.updateTable('root_keys').set({ current: 0 }).execute();
        await tx
          .insertInto('root_keys')
          .values({ id, created_at: clock.now(), current: 1 })
          .onConflict((conflict) => conflict.column('id').doUpdateSet({ current: 1 }))
          .execute();
      });
      this.#registered = id;
    }
    return newest;
  }

  async #generate(): Promise<void> {
    await this.#writeFile([randomBytes(KEY_BYTES)]);
    this.#keys = await readFileKeys(this.#path);
    this.#options.warn(
      `A root key was made for the first secret, in ${this.#path}: keep a copy of it apart from the data, because ` +
        'without it no secret of this installation can be read.' +
        (this.#options.store.kind === 'postgres'
          ? ' Every node needs the same one: set secrets.root_key (KEYGATE_ROOT_KEY) on each to what this file holds.'
          : ''),
    );
  }

  /** Adds keys before those of the file. */
  async #writeFile(newer: readonly Buffer[]): Promise<void> {
    const old = await readLines(this.#path);
    const lines = [...newer.map((bytes) => bytes.toString('base64url')), ...old].slice(0, KEPT_MAX);
    await replaceFile(this.#path, `${lines.join('\n')}\n`);
  }

  #closed(id: string) {
    this.#options.warn(this.#missing(id));
    return unavailable('The secrets of this server cannot be used at the moment: its log says why.');
  }

  #missing(id: string): string {
    const short = id.slice(0, 8);
    return this.generated
      ? `The secrets in this store are sealed with the root key ${short}…, which is not in ${this.#path}: put back the ` +
          'copy of that file, or set secrets.root_key (KEYGATE_ROOT_KEY) to that key.'
      : `The secrets in this store are sealed with the root key ${short}…, and the configuration has another: set ` +
          'secrets.root_key (KEYGATE_ROOT_KEY) to that key, or, to change keys, secrets.previous_root_key to it.';
  }
}

/** The root keys that may have sealed something of this store. */
async function registeredRoots(db: Pick<Db, 'selectFrom'>) {
  return await db.selectFrom('root_keys').select(['id', 'current']).execute();
}

/** The id of the root key that the store's secrets are sealed with; null: nothing was sealed yet. */
async function currentRoot(db: Pick<Db, 'selectFrom'>): Promise<string | null> {
  const row = await db.selectFrom('root_keys').select('id').where('current', '=', 1).executeTakeFirst();
  return row?.id ?? null;
}

async function readFileKeys(path: string): Promise<DerivedKeys[]> {
  const lines = await readLines(path);
  return lines.map((line) => {
    const bytes = readRootKey(line);
    if (bytes === undefined) {
      throw new SetupError(`${path} holds a line that is no root key: put back the copy of that file.`);
    }
    return rootKey(bytes);
  });
}

async function readLines(path: string): Promise<string[]> {
  try {
    // A copy that was put back by hand is often readable by others.
    if (((await stat(path)).mode & 0o077) !== 0) await chmod(path, 0o600);
    const text = await readFile(path, 'utf8');
    return text.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw new SetupError(`${path} cannot be read (${systemCode(error)}): make it readable for this user.`);
  }
}

/** All or nothing, and durable: a root key that was half written would lose every secret. */
async function replaceFile(path: string, text: string): Promise<void> {
  const beside = `${path}.${randomBytes(6).toString('hex')}`;
  try {
    const file = await open(beside, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(beside, path);
    const folder = await open(join(path, '..'), 'r');
    try {
      await folder.sync();
    } finally {
      await folder.close();
    }
  } catch (error) {
    throw unavailable(`The root key cannot be written to ${path} (${systemCode(error)}).`);
  }
}
