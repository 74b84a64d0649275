// Credentials that change while the server runs: a provider's own, read again where it is kept, and those that single
// projects have of their own, which are sealed in the store. Calls that are under way keep what they were sent with.

import { append } from '../audit/chain.ts';
import type { Config } from '../config/model.ts';
import type { ProjectState } from '../keys/model.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import { placeOf } from '../secrets/named.ts';
import type { OpenSecrets } from '../secrets/open.ts';
import { Secret } from '../secrets/secret.ts';
import type { Store } from '../store/store.ts';
import type { Routes } from './routes.ts';

export interface CredentialDeps {
  readonly config: Config;
  readonly store: Store;
  readonly secrets: OpenSecrets;
  readonly routes: Pick<Routes, 'providers'>;
  readonly now: () => number;
  /** The state of a project, made if it was not read yet. */
  readonly projectState: (id: ProjectId) => ProjectState | undefined;
  readonly onError: (error: unknown) => void;
}

export interface Credentials {
  /** A project's key is to be had again, or not: its own credentials are read again, or forgotten. */
  turned(projectId: ProjectId, held: boolean): void;
}

/** Resolves when every credential was read, or could not be. */
export async function keepCredentials(deps: CredentialDeps): Promise<Credentials> {
  const { config, secrets, routes } = deps;
  const reload = (projectId: ProjectId) => loadProjects(deps, projectId);
  secrets.onProjectCredential(reload);
  await Promise.all([
    ...config.providers.map(async ({ name, credentialFrom }) => {
      const provider = routes.providers.get(name);
      if (credentialFrom !== null && provider !== undefined) {
        await secrets.live.follow(credentialFrom, (secret) => provider.use(secret));
      }
    }),
    loadProjects(deps).catch(deps.onError),
  ]);
  return {
    turned(projectId, held) {
      const state = deps.projectState(projectId);
      if (!held && state !== undefined) state.credentials = null;
      // It writes to the audit log, which a notice may not: it is done afterwards.
      if (held) setImmediate(() => void reload(projectId).catch(deps.onError));
    },
  };
}

/** Opens the own credentials of one project, or of all, and puts them where the road finds them. */
async function loadProjects(deps: CredentialDeps, only?: ProjectId): Promise<void> {
  const { store, routes, projectState } = deps;
  let query = store.db.selectFrom('sealed_secrets').selectAll().where('project_id', 'is not', null);
  if (only !== undefined) query = query.where('project_id', '=', only);
  const rows = await query.orderBy('project_id').orderBy('name').execute();
  const found = new Map<string, Map<string, string>>();
  const opened = new Map<string, { names: string[]; projectId: ProjectId }>();
  for (const row of rows) {
    if (row.project_id === null) continue;
    const organizationId = row.organization_id as OrganizationId;
    const projectId = row.project_id as ProjectId;
    const provider = routes.providers.get(row.name);
    // A provider that the file does not have (any more) is asked by nobody.
    if (provider === undefined) continue;
    const lines = found.get(projectId) ?? new Map<string, string>();
    found.set(projectId, lines);
    try {
      const place = placeOf({ organizationId, projectId }, row.id);
      const secret = new Secret((await deps.secrets.seals.open(place, row.sealed)).toString('utf8'));
      lines.set(row.name, provider.linesWith(secret));
      const seen = opened.get(organizationId) ?? { names: [], projectId };
      seen.names.push(`${projectId}/${row.name}`);
      opened.set(organizationId, seen);
    } catch (error) {
      // The project's key is not to be had: its calls are refused before they come to this.
      deps.onError(error);
    }
  }
  if (only !== undefined) {
    const state = projectState(only);
    if (state !== undefined) state.credentials = found.get(only) ?? null;
  } else {
    for (const [id, lines] of found) {
      const state = projectState(id as ProjectId);
      if (state !== undefined) state.credentials = lines;
    }
  }
  for (const [organizationId, { names, projectId }] of opened) {
    await store.write((tx) =>
      append(tx, {
        by: { organizationId: organizationId as OrganizationId, actor: { type: 'server' }, at: deps.now() },
        projectId: only ?? null,
        type: 'secret.accessed',
        payload: {
          id: only ?? projectId,
          data: { credentials: names.slice(0, 100), count: names.length, node: deps.config.node },
        },
      }),
    );
  }
}
