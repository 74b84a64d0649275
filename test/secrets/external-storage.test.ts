// External storage through a whole server and the official client: a project's files are in the customer's bucket and
// not in keygate's store, sealed all the same. The clouds are doubles.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import OpenAI from 'openai';
import { afterEach, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { type Clouds, ROLE_ARN, startClouds } from './clouds.ts';
import { BucketDouble } from './doubles/buckets.ts';

const open: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

const TENANT = '11111111-2222-3333-4444-555555555555';
type Provider = OpenAI.Admin.Organization.ExternalStorageCreateParams['provider'];
const PROVIDERS: Record<'aws' | 'gcp' | 'azure' | 'oci', { provider: Provider; region: string }> = {
  aws: { provider: { type: 'aws', bucket: 'acme-files', role_arn: ROLE_ARN }, region: 'eu-central-1' },
  gcp: {
    provider: {
      type: 'gcp',
      bucket: 'acme-files',
      workload_identity_pool_id: 'pool',
      workload_identity_project_number: '42',
      workload_identity_provider_id: 'keygate',
    },
    region: 'europe-west1',
  },
  azure: {
    provider: {
      type: 'azure',
      account_name: 'acmefiles',
      container: 'acme-files',
      resource_group: 'group',
      subscription_id: TENANT,
      tenant_id: TENANT,
    },
    region: 'unknown',
  },
  oci: {
    provider: {
      type: 'oci',
      bucket: 'acme-files',
      region: 'eu-frankfurt-1',
      tenancy_ocid: 'ocid1.tenancy.oc1..t',
    },
    region: 'eu-frankfurt-1',
  },
};

interface World {
  readonly server: TestServer;
  readonly clouds: Clouds;
  readonly admin: OpenAI;
  readonly bucket: BucketDouble;
}

async function start(type: keyof typeof PROVIDERS): Promise<World> {
  const clouds = await startClouds();
  open.push(() => clouds.close());
  const bucket = new BucketDouble();
  clouds.aws.other = bucket.s3('acme-files', 'eu-central-1');
  if (type === 'gcp') clouds.gcp.other = bucket.gcs('acme-files');
  if (type === 'azure') clouds.azure.other = bucket.azure('acme-files');
  if (type === 'oci') clouds.oci.other = bucket.oci('acme-files');
  const server = await startTestServer({ yaml: clouds.yaml, env: clouds.env });
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
  return { server, clouds, admin, bucket };
}

const upload = ({ server }: World, text: string) =>
  server.client.files.create({ file: new File([text], 'notes.txt'), purpose: 'user_data' });
const contentOf = async ({ server }: World, id: string) => (await server.client.files.content(id)).text();
const TEXT = `MARKER-of-the-file ${'x'.repeat(1_200_000)}`;

describe.each(Object.keys(PROVIDERS) as (keyof typeof PROVIDERS)[])('a bucket of %s', (type) => {
  it('keeps the project’s files once it is validated, sealed, and gives them back', async () => {
    const world = await start(type);
    const { server, admin, bucket } = world;
    const { externalStorage } = admin.admin.organization;
    const { provider, region } = PROVIDERS[type];
    const made = await externalStorage.create({ project_id: server.projectId, provider });
    expect(made).toMatchObject({ object: 'organization.external_storage', status: 'pending', provider });
    await upload(world, 'before');
    expect(bucket.objects.size).toBe(0);

    bucket.allowed = false;
    expect((await externalStorage.validate(made.id)).status).toBe('unhealthy');
    bucket.allowed = true;
    expect(await externalStorage.validate(made.id)).toMatchObject({
      status: 'validated',
      provider: { region },
    });
    expect(bucket.objects.size).toBe(0);

    const file = await upload(world, TEXT);
    expect([...bucket.objects.keys()].sort()).toEqual([
      `keygate/${server.organizationId}/${server.projectId}/${file.id}/0`,
      `keygate/${server.organizationId}/${server.projectId}/${file.id}/1`,
    ]);
    const stored = Buffer.concat([...bucket.objects.values()]);
    expect(stored.length).toBeGreaterThan(TEXT.length);
    expect(stored.includes('MARKER')).toBe(false);
    expect((await contentOf(world, file.id)) === TEXT).toBe(true);
  });
});

describe('external storage', () => {
  async function validated(world: World): Promise<string> {
    const { externalStorage } = world.admin.admin.organization;
    const { provider } = PROVIDERS.aws;
    const made = await externalStorage.create({ project_id: world.server.projectId, provider });
    await externalStorage.validate(made.id);
    return made.id;
  }

  it('is the only place of the content: nothing falls back to the store, and a refusal is a clear 503', async () => {
    const world = await start('aws');
    const { server, admin, bucket } = world;
    const id = await validated(world);
    bucket.allowed = false;
    await expect(upload(world, 'MARKER-refused')).rejects.toMatchObject({
      status: 503,
      code: 'external_storage_unavailable',
    });
    expect((await server.client.files.list()).data).toHaveLength(0);
    const { externalStorage } = admin.admin.organization;
    const from = performance.now();
    while ((await externalStorage.retrieve(id)).status !== 'degraded') {
      if (performance.now() - from > 5000) throw new Error('it is not degraded');
    }
    bucket.allowed = true;
    const file = await upload(world, TEXT);
    // A megabyte and more, and none of it in keygate's own folder.
    const names = await readdir(server.dataDir);
    const sizes = await Promise.all(
      names.map(async (name) => (await readFile(join(server.dataDir, name))).length),
    );
    expect(Math.max(...sizes)).toBeLessThan(8 * 1024 * 1024);
    expect((await contentOf(world, file.id)) === TEXT).toBe(true);
    // The second piece cannot be read: the reply breaks off, and the server goes on.
    bucket.objects.delete([...bucket.objects.keys()].find((key) => key.endsWith('/1')) ?? '');
    await expect(contentOf(world, file.id)).rejects.toThrow();
    expect((await server.client.files.retrieve(file.id)).id).toBe(file.id);
  });

  it('opens what is in it after the root key was turned, with its objects as they were', async () => {
    const world = await start('aws');
    await validated(world);
    const file = await upload(world, TEXT);
    const before = Buffer.concat([...world.bucket.objects.values()]);
    const turned = await world.server.admin('POST', '/v1/keygate/root_key/rotate', {});
    expect(turned.body['keys']).toHaveLength(1);
    expect(Buffer.concat([...world.bucket.objects.values()]).equals(before)).toBe(true);
    expect((await contentOf(world, file.id)) === TEXT).toBe(true);
  });

  it('is as it was when it is disconnected, and its content is there again when the bucket is connected anew', async () => {
    const world = await start('aws');
    const { externalStorage } = world.admin.admin.organization;
    const id = await validated(world);
    const file = await upload(world, 'MARKER-kept');
    expect(await externalStorage.delete(id)).toMatchObject({ id, deleted: true });
    expect(world.bucket.objects.size).toBe(1);
    await expect(contentOf(world, file.id)).rejects.toMatchObject({
      status: 503,
      code: 'external_storage_disconnected',
    });
    await validated(world);
    expect(await contentOf(world, file.id)).toBe('MARKER-kept');
  });

  it('is listed in pages and by project, and belongs to its organization’s projects only', async () => {
    const { server, admin } = await start('aws');
    const { externalStorage, projects } = admin.admin.organization;
    const other = await projects.create({ name: 'other' });
    const { provider } = PROVIDERS.aws;
    const ids: string[] = [];
    for (const project_id of [server.projectId, other.id, other.id]) {
      ids.push((await externalStorage.create({ project_id, provider })).id);
    }
    const listed: string[] = [];
    for await (const one of externalStorage.list({ limit: 1 })) listed.push(one.id);
    expect(listed).toEqual(ids);
    expect((await externalStorage.list({ project_id: other.id })).data.map(({ id }) => id)).toEqual(
      ids.slice(1),
    );
    expect(await externalStorage.retrieve(ids[0] ?? '')).toMatchObject({
      project_id: server.projectId,
      provider: { ...provider, account_id: '123456789012', external_id: server.organizationId },
    });
    await expect(externalStorage.create({ project_id: 'proj_other', provider })).rejects.toMatchObject({
      status: 404,
    });
    await expect(
      externalStorage.create({
        project_id: other.id,
        provider: { ...provider, bucket: 'No/Such' } as Provider,
      }),
    ).rejects.toMatchObject({ status: 400, param: 'provider.bucket' });
  });
});
