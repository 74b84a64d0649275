// Every kind of key and role of the matrix tests, made on a whole server: the tested project is its default project.

import { PERMISSIONS, PREDEFINED_ROLES as ROLE } from '../../src/access/permission-names.ts';
import type { TestServer } from '../harness/server.ts';
import type { Caller } from './matrix.ts';

const CUSTOM_ORGANIZATION = ['api.usage.read', 'api.organization.projects.read', 'api.files.read'];
const CUSTOM_PROJECT = ['api.organization.projects.api_keys.write', 'api.model.embeddings.request'];
/** One key of each kind is narrowed to each of these alone. */
export const SCOPES: readonly string[] = ['api.all.read', ...PERMISSIONS];

export class Cast {
  readonly #server: TestServer;
  readonly projectId: string;
  #count = 0;

  constructor(server: TestServer) {
    this.#server = server;
    this.projectId = server.projectId;
  }

  async #made(path: string, body: object, field: string): Promise<string> {
    const reply = await this.#server.admin('POST', path, body);
    if (reply.status !== 200) throw new Error(`POST ${path}: ${JSON.stringify(reply.body)}`);
    return String(reply.body[field]);
  }

  async user(role: 'owner' | 'reader', inProject?: string): Promise<string> {
    this.#count += 1;
    const email = `cast-${this.#count}@example.com`;
    const id = await this.#made('/v1/keygate/users', { email, role }, 'id');
    if (inProject !== undefined) {
      await this.#made(
        `/v1/organization/projects/${this.projectId}/users`,
        { user_id: id, role: inProject },
        'id',
      );
    }
    return id;
  }

  async adminKey(owner: string, scopes: readonly string[] = []): Promise<string> {
    return await this.#made(
      '/v1/keygate/admin_api_keys',
      { name: 'cast', owner_user_id: owner, scopes },
      'value',
    );
  }

  async projectKey(owner: string, more: object = {}): Promise<string> {
    const path = `/v1/keygate/projects/${this.projectId}/api_keys`;
    return await this.#made(path, { name: 'cast', owner_user_id: owner, ...more }, 'value');
  }

  /** People with each role: an admin key and, where they have access to the project, a key in it. */
  async people(): Promise<Caller[]> {
    const custom = await this.#made(
      '/v1/organization/roles',
      { role_name: 'Cast', permissions: CUSTOM_ORGANIZATION },
      'id',
    );
    const inProject = await this.#made(
      `/v1/projects/${this.projectId}/roles`,
      { role_name: 'Cast', permissions: CUSTOM_PROJECT },
      'id',
    );
    const owner = await this.user('owner');
    const reader = await this.user('reader');
    const customised = await this.user('reader');
    await this.#made(`/v1/organization/users/${customised}/roles`, { role_id: custom }, 'object');
    const read = ROLE.organizationReader.permissions;
    const of = (
      organization: readonly string[],
      everywhere: readonly string[],
      project: readonly string[] | null,
    ) => ({
      organization,
      everywhere,
      project,
    });
    const people: [name: string, id: string, access: ReturnType<typeof of>][] = [
      ['owner of the organization', owner, of(PERMISSIONS, PERMISSIONS, null)],
      ['reader of the organization', reader, of(read, [], null)],
      [
        'custom role of the organization',
        customised,
        of([...read, ...CUSTOM_ORGANIZATION], CUSTOM_ORGANIZATION, null),
      ],
      [
        'owner of the project',
        await this.user('reader', 'owner'),
        of(read, [], ROLE.projectOwner.permissions),
      ],
      [
        'member of the project',
        await this.user('reader', 'member'),
        of(read, [], ROLE.projectMember.permissions),
      ],
      [
        'viewer of the project',
        await this.user('reader', 'viewer'),
        of(read, [], ROLE.projectViewer.permissions),
      ],
      ['custom role of the project', await this.user('reader', inProject), of(read, [], CUSTOM_PROJECT)],
    ];
    const callers: Caller[] = [];
    for (const [name, id, access] of people) {
      callers.push({
        name: `${name}, admin key`,
        key: await this.adminKey(id),
        kind: 'admin',
        scopes: [],
        ...access,
      });
      if (access.project === null && access.everywhere.length === 0) continue;
      callers.push({
        name: `${name}, key`,
        key: await this.projectKey(id),
        kind: 'project',
        scopes: [],
        ...access,
      });
      const test = { name: `${name}, test key`, key: await this.projectKey(id, { type: 'test' }) };
      callers.push({ ...test, kind: 'project', scopes: [], ...access });
    }
    callers.push(await this.#removed());
    for (const role of ['owner', 'member'] as const) callers.push(await this.#serviceAccount(role));
    callers.push({ name: 'nobody', key: null, kind: 'none', scopes: [], ...of([], [], null) });
    return callers;
  }

  /** A member who was taken out of the project: the key is still there, and works no longer. */
  async #removed(): Promise<Caller> {
    const id = await this.user('reader', 'member');
    const key = await this.projectKey(id);
    await this.#server.admin('DELETE', `/v1/organization/projects/${this.projectId}/users/${id}`);
    return {
      name: 'former member',
      key,
      kind: 'none',
      scopes: [],
      organization: [],
      everywhere: [],
      project: null,
    };
  }

  async #serviceAccount(role: 'owner' | 'member'): Promise<Caller> {
    const path = `/v1/organization/projects/${this.projectId}/service_accounts`;
    const reply = await this.#server.admin('POST', path, { name: `cast ${role}` });
    await this.#server.admin('POST', `${path}/${String(reply.body['id'])}`, { role });
    const { value } = reply.body['api_key'] as { value: string };
    const project = role === 'owner' ? ROLE.projectOwner.permissions : ROLE.projectMember.permissions;
    const name = `service account, ${role}`;
    return { name, key: value, kind: 'project', scopes: [], organization: [], everywhere: [], project };
  }

  /** Keys of an owner of the organization, each narrowed to one scope. */
  async narrowed(kind: 'admin' | 'project'): Promise<Caller[]> {
    const owner = await this.user('owner');
    const callers: Caller[] = [];
    for (const scope of SCOPES) {
      const ofOrganization =
        !(scope === 'api.all.read') && !ROLE.projectOwner.permissions.some((one) => one === scope);
      if (kind === 'project' && ofOrganization) continue;
      const scopes = [scope];
      const key =
        kind === 'admin' ? await this.adminKey(owner, scopes) : await this.projectKey(owner, { scopes });
      const all = { organization: PERMISSIONS, everywhere: PERMISSIONS, project: null };
      callers.push({ name: `${kind} key with ${scope}`, key, kind, scopes, ...all });
    }
    return callers;
  }
}
