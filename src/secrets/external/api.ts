// The HTTP surface of external keys as the published API has it, and keygate's own beside it: keys in Vault, and how it
// stands with a key on this node.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  NameSchema,
  newApp,
  replies,
  seconds,
  TimestampSchema,
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import { findProjectIn } from '../../access/store.ts';
import { invalidParameter } from '../../access/validation.ts';
import { CloudError } from '../../clouds/error.ts';
import { ApiError } from '../../platform/errors.ts';
import type { OrganizationId } from '../../platform/ids.ts';
import type { Outgoing } from '../../platform/outgoing.ts';
import { CONFIGS, type ExternalKey, type KeyLocation, type Purpose, versionFlaw } from './model.ts';
import type { ExternalKeys } from './open.ts';
import {
  createExternalKey,
  deleteExternalKey,
  getExternalKey,
  listExternalKeys,
  projectsOfKeys,
} from './store.ts';

export interface ExternalKeysDeps extends ControlPlaneDeps {
  readonly external: ExternalKeys;
  readonly outgoing: Pick<Outgoing, 'flaw'>;
  readonly lifetimeMs: number;
  /** Hosts of key vaults beside Azure's own: those that the configuration names. */
  readonly azureVault: string | null;
}

const PurposeSchema = z.enum(['ekm', 'psp_decryption']);
const common = { name: NameSchema, purpose: PurposeSchema.default('ekm') };
const Body = z
  .discriminatedUnion('type', [
    CONFIGS.aws.extend({ ...common, type: z.literal('aws') }),
    CONFIGS.gcp.extend({ ...common, type: z.literal('gcp') }),
    CONFIGS.azure.extend({ ...common, type: z.literal('azure') }),
    CONFIGS.oci.extend({ ...common, type: z.literal('oci') }),
  ])
  .openapi('ExternalKeyCreate');
const OwnBody = CONFIGS.vault.extend({ name: NameSchema, type: z.literal('vault') });

const ExternalKeySchema = z
  .looseObject({
    id: IdSchema,
    object: z.literal('organization.external_key'),
    type: z.string(),
    name: z.string(),
    purpose: PurposeSchema,
    created_at: TimestampSchema,
    api_project_ids: z.array(IdSchema),
    workspace_id: IdSchema,
  })
  .openapi('ExternalKey');
const ValidationSchema = z.object({ status: z.enum(['valid', 'denied', 'unavailable']) });
const StateSchema = z
  .object({
    object: z.literal('keygate.external_key_state'),
    id: IdSchema,
    lifetime_seconds: z.number().openapi({ description: 'The longest time from revoking to dark.' }),
    projects: z.array(
      z.object({
        project_id: IdSchema,
        status: z.enum(['starting', 'held', 'revoked', 'unavailable']),
        reason: z.string(),
        confirmed_seconds_ago: z.number().nullable(),
      }),
    ),
  })
  .openapi('ExternalKeyState');

const KEYS = '/v1/organization/external_keys';
const KEY = `${KEYS}/{external_key_id}`;
const OURS = '/v1/keygate/external_keys';
const Path = z.object({ external_key_id: IdSchema });
const ListQuery = PageQuery.extend({
  order: z.enum(['asc', 'desc']).default('asc'),
  purpose: PurposeSchema.optional(),
});

type KeyObject = z.infer<typeof ExternalKeySchema>;

function keyObject(key: ExternalKey, projects: readonly string[]): KeyObject {
  return {
    id: key.id,
    object: 'organization.external_key',
    type: key.location.type,
    name: key.name,
    purpose: key.purpose,
    created_at: seconds(key.createdAt),
    api_project_ids: [...projects],
    workspace_id: key.organizationId,
    ...key.location.config,
  };
}

export function externalKeysApi(deps: ExternalKeysDeps, { admin }: Authentication): ControlApp {
  const { store, clock, external } = deps;
  const app = newApp();
  const shared = { tags: ['External keys'], middleware: [admin] };
  const shown = async (organizationId: OrganizationId, key: ExternalKey): Promise<KeyObject> => {
    const projects = await projectsOfKeys(store.db, organizationId, [key.id]);
    return keyObject(key, projects.get(key.id) ?? []);
  };

  app.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: KEYS,
      request: { query: ListQuery },
      responses: replies(listSchema(ExternalKeySchema), 'The external keys.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const { rows, hasMore } = await listExternalKeys(store.db, organizationId, c.req.valid('query'));
      const ids = rows.map(({ id }) => id);
      const projects = await projectsOfKeys(store.db, organizationId, ids);
      return c.json(
        listOf(
          rows.map((key) => keyObject(key, projects.get(key.id) ?? [])),
          hasMore,
        ),
        200,
      );
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: KEYS,
      request: { body: jsonBody(Body) },
      responses: replies(ExternalKeySchema, 'The external key, registered.'),
    }),
    async (c) => {
      const { name, purpose, ...rest } = c.req.valid('json');
      const location = locationOf(rest);
      const by = attribution(c, clock);
      await checkLocation(deps, by.organizationId, location, purpose);
      const key = await store.write((tx) => createExternalKey(store, tx, by, { name, purpose, location }));
      return c.json(keyObject(key, []), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: KEY,
      request: { params: Path },
      responses: replies(ExternalKeySchema, 'The external key.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const key = await getExternalKey(store.db, organizationId, c.req.valid('param').external_key_id);
      return c.json(await shown(organizationId, key), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'delete',
      path: KEY,
      request: { params: Path },
      responses: replies(ExternalKeySchema, 'The external key that was removed.'),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const { external_key_id: id } = c.req.valid('param');
      const key = await store.write((tx) => deleteExternalKey(store, tx, by, id));
      return c.json(keyObject(key, []), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: `${KEY}/validate`,
      request: { params: Path },
      responses: replies(ValidationSchema, 'Whether it wraps and unwraps now.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const key = await getExternalKey(store.db, organizationId, c.req.valid('param').external_key_id);
      if (key.purpose !== 'ekm') {
        throw new ApiError(400, 'This key is not for wrapping: keygate keeps its registration only.', {
          param: 'external_key_id',
        });
      }
      return c.json({ status: await validated(external, key) }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'post',
      path: OURS,
      request: { body: jsonBody(OwnBody) },
      responses: replies(ExternalKeySchema, 'A key of the Vault that the configuration names, registered.'),
    }),
    async (c) => {
      const { name, type, ...config } = c.req.valid('json');
      const by = attribution(c, clock);
      const key = await store.write((tx) =>
        createExternalKey(store, tx, by, { name, purpose: 'ekm', location: { type, config } }),
      );
      return c.json(keyObject(key, []), 200);
    },
  );

  app.openapi(
    createRoute({
      ...shared,
      method: 'get',
      path: `${OURS}/{external_key_id}`,
      request: { params: Path },
      responses: replies(StateSchema, 'How it stands with it on this node.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const key = await getExternalKey(store.db, organizationId, c.req.valid('param').external_key_id);
      const now = clock.monotonic();
      return c.json(
        {
          object: 'keygate.external_key_state' as const,
          id: key.id,
          lifetime_seconds: deps.lifetimeMs / 1000,
          projects: external.held.having(key.id).map(({ owner, status, reason, confirmedAt }) => ({
            project_id: owner.projectId,
            status,
            reason,
            confirmed_seconds_ago: Number.isFinite(confirmedAt)
              ? Math.round((now - confirmedAt) / 1000)
              : null,
          })),
        },
        200,
      );
    },
  );
  return app;
}

async function validated(
  external: ExternalKeys,
  key: ExternalKey,
): Promise<'valid' | 'denied' | 'unavailable'> {
  try {
    await external.probe(key);
    return 'valid';
  } catch (error) {
    if (!(error instanceof CloudError)) throw error;
    return error.reason === 'unavailable' ? 'unavailable' : 'denied';
  }
}

function locationOf(body: Omit<z.output<typeof Body>, 'name' | 'purpose'>): KeyLocation {
  switch (body.type) {
    case 'aws': {
      const { type, ...config } = body;
      return { type, config: CONFIGS.aws.parse(config) };
    }
    case 'gcp': {
      const { type, ...config } = body;
      return { type, config: CONFIGS.gcp.parse(config) };
    }
    case 'azure': {
      const { type, ...config } = body;
      return { type, config: CONFIGS.azure.parse(config) };
    }
    case 'oci': {
      const { type, ...config } = body;
      return { type, config: CONFIGS.oci.parse(config) };
    }
  }
}

const AZURE_HOST = /\.(?:vault|managedhsm)\.(?:azure\.net|azure\.cn|usgovcloudapi\.net)$/;

async function checkLocation(
  deps: ExternalKeysDeps,
  organizationId: OrganizationId,
  location: KeyLocation,
  purpose: Purpose,
): Promise<void> {
  const flaw = versionFlaw(location, purpose);
  if (flaw !== null) throw invalidParameter(flaw.field, `Invalid '${flaw.field}': ${flaw.message}.`);
  if (location.type === 'aws')
    await checkOurs(deps, organizationId, 'external_id', location.config.external_id);
  if (location.type === 'gcp') await checkOurs(deps, organizationId, 'audience', location.config.audience);
  if (location.type === 'azure') {
    const { vault_uri: uri } = location.config;
    // The access token goes there: only to Azure's own hosts, or to the one that the administrator's file names.
    if (!AZURE_HOST.test(new URL(uri).hostname) && deps.azureVault === null) {
      throw invalidParameter('vault_uri', "Invalid 'vault_uri': must be an address of Azure Key Vault.");
    }
    const problem = deps.azureVault === null ? deps.outgoing.flaw(uri) : null;
    if (problem !== null) throw invalidParameter('vault_uri', `Invalid 'vault_uri': ${problem}`);
  }
}

/** What is sent to the customer's cloud says for whom keygate asks: the organization, or a project of it. */
async function checkOurs(
  deps: ExternalKeysDeps,
  organizationId: OrganizationId,
  field: string,
  value: string,
): Promise<void> {
  if (value === organizationId) return;
  if ((await findProjectIn(deps.store.db, organizationId, value)) !== undefined) return;
  throw invalidParameter(
    field,
    `Invalid '${field}': must be the organization's id or that of one of its projects.`,
  );
}
