// Named secrets that keygate keeps itself, sealed: set through the control plane, named in keygate.yaml as
// `sealed:NAME`. Once set, a value is never shown again; setting it anew makes the next version, and every node uses
// it within a second.

import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { newId, type OrganizationId, type ProjectId } from '../platform/ids.ts';
import type { SealedSecretTable } from '../store/schema-secrets.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import type { Place } from './purpose.ts';
import type { SealedColumn } from './rewrap.ts';
import type { Seals } from './seals.ts';
import { Secret } from './secret.ts';
import { SecretError, SecretGone } from './text.ts';

export type NamedSecret = Omit<SealedSecretTable, 'sealed'>;

export interface Owner {
  readonly organizationId: OrganizationId;
  /** Null: the installation's. */
  readonly projectId: ProjectId | null;
}

const SHOWN = ['id', 'organization_id', 'project_id', 'name', 'version', 'created_at', 'updated_at'] as const;

/** Where a named secret is sealed: to its own row, so that the value of one name opens under no other. */
export function placeOf(owner: Owner, id: string): Place {
  return { ...owner, purpose: owner.projectId === null ? 'secret' : 'upstream_credential', id };
}

function ownedBy(db: Db | Tx, { organizationId, projectId }: Owner) {
  const query = db.selectFrom('sealed_secrets').where('organization_id', '=', organizationId);
  return projectId === null
    ? query.where('project_id', 'is', null)
    : query.where('project_id', '=', projectId);
}

export async function listSecrets(db: Db, owner: Owner): Promise<NamedSecret[]> {
  return await ownedBy(db, owner).select(SHOWN).orderBy('name').limit(1000).execute();
}

export async function findSecret(db: Db | Tx, owner: Owner, name: string): Promise<NamedSecret | undefined> {
  return await ownedBy(db, owner).select(SHOWN).where('name', '=', name).executeTakeFirst();
}

/** Sets a secret, or the next version of it. The value is sealed before any statement is made. */
export async function setSecret(
  store: Store,
  seals: Seals,
  by: Attribution,
  owner: Owner,
  name: string,
  value: Secret,
): Promise<NamedSecret> {
  const known = await findSecret(store.db, owner, name);
  const id = known?.id ?? newId('secret_');
  const sealed = await seals.seal(placeOf(owner, id), value.reveal());
  return await store.write(async (tx) => {
    const before = await findSecret(tx, owner, name);
    if (before?.id !== known?.id)
      throw new SecretError('the secret was set or removed by somebody else meanwhile');
    const row: NamedSecret = {
      id,
      organization_id: owner.organizationId,
      project_id: owner.projectId,
      name,
      version: (before?.version ?? 0) + 1,
      created_at: before?.created_at ?? by.at,
      updated_at: by.at,
    };
    if (before === undefined)
      await tx
        .insertInto('sealed_secrets')
        .values({ ...row, sealed })
        .execute();
    else {
      await tx
        .updateTable('sealed_secrets')
        .set({ sealed, version: row.version, updated_at: by.at })
        .where('id', '=', id)
        .execute();
    }
    await append(tx, {
      by,
      projectId: owner.projectId,
      type: before === undefined ? 'secret.created' : 'secret.updated',
      payload: { id, data: { name, version: row.version } },
    });
    await store.announce(tx, 'secret', owner.projectId ?? id, by.at);
    return row;
  });
}

/** False if there was none. */
export async function deleteSecret(
  store: Store,
  by: Attribution,
  owner: Owner,
  name: string,
): Promise<NamedSecret | undefined> {
  return await store.write(async (tx) => {
    const known = await findSecret(tx, owner, name);
    if (known === undefined) return undefined;
    await tx.deleteFrom('sealed_secrets').where('id', '=', known.id).execute();
    await append(tx, {
      by,
      projectId: owner.projectId,
      type: 'secret.deleted',
      payload: { id: known.id, data: { name, version: known.version } },
    });
    // A project's own is told of by the project: what is gone could not say whose it was.
    await store.announce(tx, 'secret', owner.projectId ?? known.id, by.at);
    return known;
  });
}

/** Opens named secrets for the server's own use. Each opening of a version is noted in the audit log, once a node. */
export class SecretReader {
  readonly #store: Store;
  readonly #seals: Seals;
  readonly #node: string;
  readonly #now: () => number;
  readonly #opened = new Map<string, { readonly version: number; readonly secret: Secret }>();

  constructor(store: Store, seals: Seals, node: string, now: () => number) {
    this.#store = store;
    this.#seals = seals;
    this.#node = node;
    this.#now = now;
  }

  /** @throws SecretError when there is none; ApiError when it cannot be opened */
  async read(owner: Owner, name: string): Promise<Secret> {
    const row = await ownedBy(this.#store.db, owner).selectAll().where('name', '=', name).executeTakeFirst();
    if (row === undefined) {
      throw new SecretGone(`no secret of that name is kept: set it with \`keygate secrets set ${name}\``);
    }
    const known = this.#opened.get(row.id);
    if (known?.version === row.version) return known.secret;
    const secret = new Secret((await this.#seals.open(placeOf(owner, row.id), row.sealed)).toString('utf8'));
    this.#opened.set(row.id, { version: row.version, secret });
    await this.#store.write((tx) =>
      append(tx, {
        by: { organizationId: owner.organizationId, actor: { type: 'server' }, at: this.#now() },
        projectId: owner.projectId,
        type: 'secret.accessed',
        payload: { id: row.id, data: { name, version: row.version, node: this.#node } },
      }),
    );
    return secret;
  }
}

/** For wrapping again with a new root key. */
export const namedSecretsColumn: SealedColumn = {
  name: 'secrets',
  async page(db, after, limit) {
    const rows = await db
      .selectFrom('sealed_secrets')
      .selectAll()
      .where('id', '>', after)
      .orderBy('id')
      .limit(limit)
      .execute();
    return rows.map((row) => ({
      key: row.id,
      // The store holds ids as text: here they get their brands back.
      place: placeOf(
        {
          organizationId: row.organization_id as OrganizationId,
          projectId: row.project_id as ProjectId | null,
        },
        row.id,
      ),
      sealed: row.sealed,
    }));
  },
  async replace(tx, id, before, after) {
    await tx
      .updateTable('sealed_secrets')
      .set({ sealed: after })
      .where('id', '=', id)
      .where('sealed', '=', before)
      .execute();
  },
};
