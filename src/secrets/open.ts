// Brings up what the rest of keygate needs of secrets: the root key, sealing and opening with it, and secrets that may
// change while the server runs, wherever they are kept.

import { readFile } from 'node:fs/promises';
import { CloudIdentity, sealedKeysColumn } from '../clouds/identity.ts';
import { type Clouds, openClouds } from '../clouds/open.ts';
import type { CloudsConfig, SecretsConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import { systemCode } from '../store/data-folder.ts';
import type { Store } from '../store/store.ts';
import { type ExternalKeys, openExternalKeys } from './external/open.ts';
import { contentKeysColumn } from './external/store.ts';
import { LiveSecrets, type ReadSecret } from './live.ts';
import { namedSecretsColumn, type Owner, SecretReader } from './named.ts';
import { readRemote } from './remote.ts';
import type { SealedColumn } from './rewrap.ts';
import { RootRing } from './root-ring.ts';
import { Seals } from './seals.ts';
import { credentialOf, SecretError } from './text.ts';

export interface OpenSecrets {
  readonly seals: Seals;
  readonly roots: RootRing;
  readonly live: LiveSecrets;
  readonly named: SecretReader;
  readonly clouds: Clouds;
  readonly external: ExternalKeys;
  /** Told when a project's external key may be used (again), or may not. Must not write. */
  onProjectKey(notice: (projectId: ProjectId, held: boolean) => void): void;
  /** Everything that is sealed in the store: whoever keeps more adds to it. */
  readonly columns: SealedColumn[];
  /** A named secret was set or removed on this node: it is in effect when this resolves. */
  changed(owner: Owner, name: string): Promise<void>;
  /** Told of changes of projects' own credentials, off the road. */
  onProjectCredential(notice: (projectId: ProjectId) => Promise<void>): void;
  close(): Promise<void>;
}

export interface OpenSecretsOptions {
  readonly config: SecretsConfig;
  readonly dataDir: string;
  readonly node: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Pick<Log, 'warn' | 'error'>;
  readonly clouds: CloudsConfig;
  readonly outgoing: Outgoing;
}

/** @throws SetupError when the store's secrets are sealed with a root key that is not here */
export async function openSecrets(options: OpenSecretsOptions): Promise<OpenSecrets> {
  const { config, dataDir, store, clock, log } = options;
  const roots = await RootRing.open({
    store,
    clock,
    dataDir,
    configured: config.rootKey,
    previous: config.previousRootKey,
    warn: (message) => log.warn(message),
  });
  const keyNotices: ((projectId: ProjectId, held: boolean) => void)[] = [];
  const external: ExternalKeys = openExternalKeys(
    {
      store,
      clouds: () => clouds,
      lifetimeMs: config.keyLifetimeMs,
      clock,
      node: options.node,
      log,
      turned: (projectId, held) => {
        for (const notice of keyNotices) notice(projectId, held);
      },
    },
    () => seals,
  );
  const seals: Seals = new Seals({
    roots,
    content: external.held,
    alarm: ({ organizationId, projectId, purpose, id }, error) =>
      log.error('secrets', error, {
        organization_id: organizationId,
        project_id: projectId,
        purpose,
        record: id,
        reason: error.reason,
      }),
  });
  const identity = new CloudIdentity(store, seals, clock, options.clouds.issuer);
  const clouds: Clouds = openClouds(options.clouds, options.outgoing, identity, clock);
  const named = new SecretReader(store, seals, options.node, () => clock.now());
  const read: ReadSecret = async (reference) => {
    switch (reference.scheme) {
      case 'sealed':
        return await named.read(await home(store), reference.name);
      case 'file':
        return credentialOf(await readText(reference.path));
      case 'env':
        throw new SecretError('a variable is read once, at the start');
      default:
        return await readRemote(reference, clouds);
    }
  };
  const live = new LiveSecrets({
    read,
    refreshMs: config.refreshMs,
    clock,
    warn: (message) => log.warn(message),
  });
  const notices: ((projectId: ProjectId) => Promise<void>)[] = [];
  const projectChanged = async (projectId: ProjectId): Promise<void> => {
    for (const notice of notices) await notice(projectId);
  };
  const changed = async (owner: Owner, name: string): Promise<void> => {
    if (owner.projectId === null) {
      await live.refresh((reference) => reference.scheme === 'sealed' && reference.name === name);
    } else await projectChanged(owner.projectId);
  };
  const stop = store.follow(await store.lastChange(), (changes) => {
    const ids = new Set(changes.filter(({ kind }) => kind === 'secret').map(({ objectId }) => objectId));
    if (ids.size === 0) return;
    const projects = [...ids].filter((id) => id.startsWith('proj_')) as ProjectId[];
    // Opening writes to the audit log, which a notice may not: it is done afterwards.
    setImmediate(() => {
      const work = [
        ...projects.map(projectChanged),
        ...(projects.length < ids.size ? [live.refresh(({ scheme }) => scheme === 'sealed')] : []),
      ];
      for (const each of work) each.catch((error: unknown) => log.error('secrets', error));
    });
  });
  return {
    seals,
    roots,
    live,
    named,
    clouds,
    external,
    onProjectKey: (notice) => keyNotices.push(notice),
    columns: [namedSecretsColumn, sealedKeysColumn, contentKeysColumn],
    changed,
    onProjectCredential: (notice) => notices.push(notice),
    close: async () => {
      live.close();
      external.close();
      await stop();
    },
  };
}

/** The installation's own organization: the first one. */
async function home(store: Store): Promise<Owner> {
  const row = await store.db
    .selectFrom('organizations')
    .select('id')
    .orderBy('created_at')
    .orderBy('id')
    .limit(1)
    .executeTakeFirst();
  if (row === undefined) throw new SecretError('there is no organization yet');
  return { organizationId: row.id as OrganizationId, projectId: null };
}

async function readText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new SecretError(`the file cannot be read (${systemCode(error)})`);
  }
}
