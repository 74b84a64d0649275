// The HTTP surface of external storage as the published API has it.

import { randomBytes } from 'node:crypto';
import { createRoute, z } from '@hono/zod-openapi';
import type { ControlPart } from '../access/control-plane.ts';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  ProjectIdSchema,
  replies,
  seconds,
  TimestampSchema,
} from '../access/http.ts';
import { listOf, listSchema, PageQuery } from '../access/page.ts';
import { getActiveProject } from '../access/store.ts';
import { CloudError } from '../clouds/error.ts';
import type { Clouds } from '../clouds/open.ts';
import { bucketAt } from './buckets.ts';
import { type ExternalStorage, geographyOf, PROVIDERS, readLocation, type StorageLocation } from './model.ts';
import { createStorage, deleteStorage, getStorage, listStorage, setStorageStatus } from './store.ts';

export interface StorageDeps extends ControlPlaneDeps {
  readonly clouds: Clouds;
}

const Body = z.strictObject({
  project_id: ProjectIdSchema,
  provider: z.discriminatedUnion('type', [
    PROVIDERS.aws.extend({ type: z.literal('aws') }),
    PROVIDERS.azure.extend({ type: z.literal('azure') }),
    PROVIDERS.gcp.extend({ type: z.literal('gcp') }),
    PROVIDERS.oci.extend({ type: z.literal('oci') }),
  ]),
});
const StorageSchema = z
  .object({
    id: IdSchema,
    object: z.literal('organization.external_storage'),
    created_at: TimestampSchema,
    geography: z.string(),
    project_id: IdSchema,
    provider: z.looseObject({ type: z.enum(['aws', 'azure', 'gcp', 'oci']), region: z.string() }),
    status: z.enum(['pending', 'validated', 'degraded', 'unhealthy']),
  })
  .openapi('ExternalStorageConfiguration');
const DeletedSchema = z.object({
  id: IdSchema,
  object: z.literal('organization.external_storage.deleted'),
  deleted: z.literal(true),
});

const STORAGES = '/v1/organization/external_storage';
const STORAGE = `${STORAGES}/{external_storage_id}`;
const Path = z.object({ external_storage_id: IdSchema });
const ListQuery = PageQuery.extend({
  order: z.enum(['asc', 'desc']).default('asc'),
  project_id: IdSchema.optional(),
});

function storageObject(storage: ExternalStorage): z.infer<typeof StorageSchema> {
  const { location, region, organizationId } = storage;
  const provider =
    location.type === 'aws'
      ? {
          ...location.config,
          account_id: location.config.role_arn.split(':')[4] ?? '',
          external_id: organizationId,
        }
      : location.type === 'gcp'
        ? { ...location.config, audience: organizationId }
        : location.config;
  return {
    id: storage.id,
    object: 'organization.external_storage',
    created_at: seconds(storage.createdAt),
    geography: geographyOf(region),
    project_id: storage.projectId,
    provider: { ...provider, type: location.type, region },
    status: storage.status,
  };
}

export function storagePart(deps: StorageDeps): ControlPart {
  return { routes: (auth) => storageApi(deps, auth) };
}

function storageApi({ store, clock, clouds }: StorageDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const shared = { tags: ['External storage'], middleware: [admin] };

  app.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: STORAGES,
      request: { query: ListQuery },
      responses: replies(listSchema(StorageSchema), 'The external storages.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { project_id: projectId, ...page } = c.req.valid('query');
      const { rows, hasMore } = await listStorage(store.db, organizationId, { ...page, projectId });
      return c.json(listOf(rows.map(storageObject), hasMore), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: STORAGES,
      request: { body: jsonBody(Body) },
      responses: replies(StorageSchema, 'The storage, registered: it is used once it is validated.'),
    }),
    async (c) => {
      const { project_id: projectId, provider } = c.req.valid('json');
      const by = attribution(c, clock);
      const location = locationOf(provider);
      const region = location.type === 'oci' ? location.config.region : 'unknown';
      const made = await store.write(async (tx) => {
        await getActiveProject(tx, by.organizationId, projectId);
        return await createStorage(store, tx, by, { projectId, location, region });
      });
      return c.json(storageObject(made), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: STORAGE,
      request: { params: Path },
      responses: replies(StorageSchema, 'The storage.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const storage = await getStorage(store.db, organizationId, c.req.valid('param').external_storage_id);
      return c.json(storageObject(storage), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      path: STORAGE,
      request: { params: Path },
      responses: replies(DeletedSchema, 'It is disconnected; the bucket is as it was.'),
    }),
    async (c) => {
      const { external_storage_id: id } = c.req.valid('param');
      const by = attribution(c, clock);
      await store.write((tx) => deleteStorage(store, tx, by, id));
      return c.json(
        { id, object: 'organization.external_storage.deleted' as const, deleted: true as const },
        200,
      );
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: `${STORAGE}/validate`,
      request: { params: Path },
      responses: replies(StorageSchema, 'The storage, after an object was written, read and deleted there.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const storage = await getStorage(store.db, organizationId, c.req.valid('param').external_storage_id);
      const found = await probe(storage, clouds);
      return c.json(storageObject(await setStorageStatus(store, storage, found, clock.now())), 200);
    },
  );
  return app;
}

/** Writes, reads and deletes an object of its own. */
async function probe(
  storage: ExternalStorage,
  clouds: Clouds,
): Promise<{ status: 'validated' | 'unhealthy'; region?: string }> {
  try {
    const region = await bucketAt(storage, clouds).region();
    const bucket = bucketAt({ ...storage, region }, clouds);
    const key = `keygate/${storage.organizationId}/${storage.projectId}/probe-${randomBytes(8).toString('hex')}`;
    const bytes = randomBytes(64);
    await bucket.put(key, bytes);
    const back = await bucket.get(key);
    await bucket.remove(key);
    return back.equals(bytes) ? { status: 'validated', region } : { status: 'unhealthy' };
  } catch (error) {
    if (error instanceof CloudError) return { status: 'unhealthy' };
    throw error;
  }
}

function locationOf({ type, ...config }: z.output<typeof Body>['provider']): StorageLocation {
  return readLocation(type, config);
}
