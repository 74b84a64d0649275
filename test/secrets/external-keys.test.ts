// External keys through whole servers and the official client: a project works with a key in each key service, is dark
// within the stated time when the key is revoked there, and back when it is allowed again. The services are doubles.

import { randomBytes } from 'node:crypto';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { startUpstream, type Upstream } from '../harness/upstream.ts';
import { freshPostgres } from '../store/stores.ts';
import { type Clouds, REGISTRATIONS, startClouds, VAULT_REGISTRATION } from './clouds.ts';

const LIFETIME_MS = 1500;
const open: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

interface World {
  readonly server: TestServer;
  readonly clouds: Clouds;
  readonly upstream: Upstream;
  readonly admin: OpenAI;
  readonly yaml: string;
}

async function start(): Promise<World> {
  const clouds = await startClouds();
  const upstream = await startUpstream();
  open.push(() => clouds.close());
  open.push(() => upstream.close());
  const yaml = `${clouds.yaml}secrets: {key_lifetime: ${LIFETIME_MS}ms}\nproviders:\n  mock: {base_url: "${upstream.url}", credential: env:MOCK_KEY, allow_private: true, models: ["gpt-*"]}\n`;
  const server = await startTestServer({ yaml, env: clouds.env });
  open.push(async () => {
    await server.stop();
    server.remove();
  });
  clouds.organizationId = server.organizationId;
  const keys = await fetch(`${server.adminUrl}/v1/keygate/cloud_identity/jwks`);
  clouds.gcp.keySet = (await keys.json()) as Clouds['gcp']['keySet'];
  const admin = new OpenAI({
    adminAPIKey: server.adminKey,
    apiKey: null,
    baseURL: `${server.adminUrl}/v1`,
    maxRetries: 0,
  });
  return { server, clouds, upstream, admin, yaml };
}

async function register(
  { server, admin }: World,
  type: keyof typeof REGISTRATIONS | 'vault',
): Promise<string> {
  if (type !== 'vault') {
    return (await admin.admin.organization.externalKeys.create(REGISTRATIONS[type](server.organizationId)))
      .id;
  }
  const made = await server.admin('POST', '/v1/keygate/external_keys', VAULT_REGISTRATION);
  return String(made.body['id']);
}

async function projectWith({ server, admin }: World, externalKeyId: string) {
  const project = await admin.admin.organization.projects.create({
    name: 'secret',
    external_key_id: externalKeyId,
  });
  const made = await server.admin('POST', `/v1/keygate/projects/${project.id}/api_keys`, { name: 'k' });
  return { project, key: String(made.body['value']) };
}

async function call(server: TestServer, key: string): Promise<string> {
  const body = JSON.stringify({ model: 'gpt-5', messages: [{ role: 'user', content: 'hi' }] });
  const reply = await server.request('/v1/chat/completions', { method: 'POST', body, key });
  if (reply.status === 200) return '200';
  const { error } = (await reply.json()) as { error: { code: string } };
  return `${reply.status} ${error.code}`;
}

/** Waits until calls are answered so, and gives how long that took. */
async function until(wanted: string, server: TestServer, key: string): Promise<number> {
  const from = performance.now();
  for (;;) {
    const got = await call(server, key);
    if (got === wanted) return performance.now() - from;
    if (performance.now() - from > 20_000) throw new Error(`still ${got}, and not ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const SERVICES = {
  aws: ({ aws }: Clouds, enabled: boolean) => {
    aws.key.enabled = enabled;
  },
  gcp: ({ gcp }: Clouds, enabled: boolean) => {
    gcp.key.enabled = enabled;
  },
  azure: ({ azure }: Clouds, enabled: boolean) => {
    azure.enabled = enabled;
  },
  oci: ({ oci }: Clouds, enabled: boolean) => {
    oci.key.enabled = enabled;
  },
  vault: ({ vault }: Clouds, enabled: boolean) => {
    vault.key.enabled = enabled;
  },
};
const TYPES = Object.keys(SERVICES) as (keyof typeof SERVICES)[];

describe.each(TYPES)('a project with a key in %s', (type) => {
  it('works, is dark within the stated time when the key is disabled, and is back when it is enabled', async () => {
    const world = await start();
    const { server, clouds, upstream, admin } = world;
    const id = await register(world, type);
    expect(await admin.admin.organization.externalKeys.validate(id)).toEqual({ status: 'valid' });
    const { project, key } = await projectWith(world, id);
    expect(project.external_key_id).toBe(id);
    const own = `/v1/keygate/projects/${project.id}/credentials/mock`;
    expect((await server.admin('POST', own, { value: 'MARKER-own-credential' })).status).toBe(200);
    expect(await call(server, key)).toBe('200');
    expect(upstream.asked.at(-1)?.headers['authorization']).toBe('Bearer MARKER-own-credential');

    SERVICES[type](clouds, false);
    const dark = await until('403 external_key_revoked', server, key);
    expect(dark).toBeLessThan(LIFETIME_MS + 500);
    expect(await call(server, server.projectKey)).toBe('200');
    expect(await admin.admin.organization.externalKeys.validate(id)).toEqual({ status: 'denied' });
    const sealing = await server.admin('POST', own, { value: 'MARKER-another' });
    expect(sealing).toMatchObject({ status: 403, body: { error: { code: 'external_key_revoked' } } });

    SERVICES[type](clouds, true);
    await until('200', server, key);
    expect(await admin.admin.organization.externalKeys.validate(id)).toEqual({ status: 'valid' });
  });
});

describe('an external key', () => {
  it('closes its project on every node of one database, and opens it again on each', async () => {
    const clouds = await startClouds();
    const upstream = await startUpstream();
    const database = await freshPostgres();
    open.push(() => database.remove());
    open.push(() => upstream.close());
    open.push(() => clouds.close());
    const yaml = `${clouds.yaml}secrets: {key_lifetime: ${LIFETIME_MS}ms}\nproviders:\n  mock: {base_url: "${upstream.url}", credential: env:MOCK_KEY, allow_private: true, models: ["gpt-*"]}\n`;
    const env = {
      ...clouds.env,
      KEYGATE_DATABASE_URL: database.databaseUrl?.reveal() ?? '',
      KEYGATE_ROOT_KEY: randomBytes(32).toString('base64'),
    };
    const nodes = [await startTestServer({ yaml, env }), await startTestServer({ yaml, env })] as const;
    open.push(async () => {
      for (const node of nodes) await node.stop();
      for (const node of nodes) node.remove();
    });
    const [first, second] = nodes;
    clouds.organizationId = first.organizationId;
    const key = await first.admin('POST', '/v1/keygate/external_keys', VAULT_REGISTRATION);
    const project = await first.admin('POST', '/v1/organization/projects', {
      name: 'secret',
      external_key_id: key.body['id'],
    });
    const path = `/v1/keygate/projects/${project.body['id']}`;
    const made = await first.admin('POST', `${path}/api_keys`, { name: 'k' });
    const value = String(made.body['value']);
    await first.admin('POST', `${path}/credentials/mock`, { value: 'MARKER-own' });
    for (const node of nodes) await until('200', node, value);
    clouds.vault.key.enabled = false;
    const dark = await Promise.all(nodes.map((node) => until('403 external_key_revoked', node, value)));
    expect(Math.max(...dark)).toBeLessThan(LIFETIME_MS + 500);
    clouds.vault.key.enabled = true;
    await Promise.all(nodes.map((node) => until('200', node, value)));
    const from = performance.now();
    while (upstream.asked.at(-1)?.headers['authorization'] !== 'Bearer MARKER-own') {
      if (performance.now() - from > 5000)
        throw new Error('its own credential is not used on the second node');
      await call(second, value);
    }
  });

  it('whose service is away is used for its lifetime, then the project is dark with 503, and comes back', async () => {
    const world = await start();
    const { server, clouds } = world;
    const { key } = await projectWith(world, await register(world, 'aws'));
    clouds.aws.away = true;
    expect(await call(server, key)).toBe('200');
    const dark = await until('503 external_key_unavailable', server, key);
    expect(dark).toBeLessThan(LIFETIME_MS + 500);
    clouds.aws.away = false;
    await until('200', server, key);
  });

  it('is revoked as well by no longer trusting keygate’s role', async () => {
    const world = await start();
    const { key } = await projectWith(world, await register(world, 'aws'));
    world.clouds.aws.trusted = false;
    await until('403 external_key_revoked', world.server, key);
    world.clouds.aws.trusted = true;
    await until('200', world.server, key);
  });

  it('keeps its project dark over a restart, and what was sealed opens after it', async () => {
    const world = await start();
    const { server, clouds, upstream, yaml } = world;
    const { project, key } = await projectWith(world, await register(world, 'vault'));
    await server.admin('POST', `/v1/keygate/projects/${project.id}/credentials/mock`, {
      value: 'MARKER-own',
    });
    clouds.vault.key.enabled = false;
    await server.stop();
    const again = await startTestServer({ yaml, env: clouds.env, dataDir: server.dataDir });
    open.push(() => again.stop());
    expect(await call(again, key)).toBe('403 external_key_revoked');
    clouds.vault.key.enabled = true;
    await until('200', again, key);
    const from = performance.now();
    while (upstream.asked.at(-1)?.headers['authorization'] !== 'Bearer MARKER-own') {
      if (performance.now() - from > 5000) throw new Error('its own credential did not come back');
      await call(again, key);
    }
  });

  it('is refused for a project when it does not work, and kept while a project has it', async () => {
    const world = await start();
    const { server, clouds, admin } = world;
    const id = await register(world, 'aws');
    clouds.aws.key.enabled = false;
    const organization = admin.admin.organization;
    await expect(organization.projects.create({ name: 'p', external_key_id: id })).rejects.toMatchObject({
      status: 400,
      code: 'external_key_unusable',
      param: 'external_key_id',
    });
    clouds.aws.key.enabled = true;
    await expect(
      organization.projects.create({ name: 'p', external_key_id: 'extkey_none' }),
    ).rejects.toMatchObject({ status: 404 });
    const project = await organization.projects.update(server.projectId, { external_key_id: id });
    expect(project.external_key_id).toBe(id);
    expect((await organization.externalKeys.retrieve(id)).api_project_ids).toEqual([server.projectId]);
    expect(await call(server, server.projectKey)).toBe('200');
    await expect(organization.externalKeys.delete(id)).rejects.toMatchObject({ status: 400 });
    const freed = await organization.projects.update(server.projectId, { external_key_id: null });
    expect(freed.external_key_id).toBeNull();
    expect((await organization.externalKeys.delete(id)).id).toBe(id);
    await expect(organization.externalKeys.retrieve(id)).rejects.toMatchObject({ status: 404 });
  });

  it('is listed in pages and by purpose, with the fields that it was registered with', async () => {
    const world = await start();
    const { server, admin } = world;
    const { externalKeys } = admin.admin.organization;
    const ids = [await register(world, 'aws'), await register(world, 'gcp'), await register(world, 'vault')];
    const psp = await externalKeys.create({
      ...REGISTRATIONS.gcp(server.organizationId),
      purpose: 'psp_decryption',
      kms_key_version: '3',
    } as never);
    const listed: string[] = [];
    for await (const key of externalKeys.list({ limit: 1 })) listed.push(key.id);
    expect(listed).toEqual([...ids, psp.id]);
    const only: string[] = [];
    for await (const key of externalKeys.list({ purpose: 'psp_decryption' })) only.push(key.id);
    expect(only).toEqual([psp.id]);
    const first = (await externalKeys.list({ order: 'desc', limit: 1 })).data[0];
    expect(first?.id).toBe(psp.id);
    const { name, ...fields } = REGISTRATIONS.aws(server.organizationId);
    expect(await externalKeys.retrieve(ids[0] ?? '')).toMatchObject({ name, ...fields, purpose: 'ekm' });
  });

  it('is refused with the field that does not fit', async () => {
    const { server } = await start();
    const { aws, gcp, azure } = REGISTRATIONS;
    const id = server.organizationId;
    const cases: [object, string][] = [
      [{ ...aws(id), external_id: 'org-of-another' }, 'external_id'],
      [{ ...aws(id), kms_arn: 'arn:aws:s3:::bucket' }, 'kms_arn'],
      [{ ...aws(id), role_arn: undefined }, 'role_arn'],
      [{ ...aws(id), tenant_id: 'x' }, 'tenant_id'],
      [{ ...gcp(id), kms_key_version: '1' }, 'kms_key_version'],
      [{ ...gcp(id), purpose: 'psp_decryption' }, 'kms_key_version'],
      [{ ...gcp(id), audience: 'proj_of_another' }, 'audience'],
      [{ ...azure(id), vault_uri: 'http://acme.vault.azure.net' }, 'vault_uri'],
      [{ ...azure(id), type: 'ibm' }, 'type'],
      [{ ...VAULT_REGISTRATION }, 'type'],
    ];
    for (const [body, param] of cases) {
      const reply = await server.admin('POST', '/v1/organization/external_keys', body);
      expect(reply, JSON.stringify(body)).toMatchObject({ status: 400, body: { error: { param } } });
    }
  });
});
