// keygate's own routes for the secrets that it keeps: set, listed, removed, and never shown; and for the root key that
// seals them. A value comes in the body of one request and goes no further than sealing.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlContext,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  ProjectIdSchema,
  replies,
  seconds,
  TimestampSchema,
} from '../access/http.ts';
import { getActiveProject, getProject } from '../access/store.ts';
import { invalidParameter } from '../access/validation.ts';
import { append } from '../audit/chain.ts';
import { ApiError } from '../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import { deleteSecret, findSecret, listSecrets, type NamedSecret, type Owner, setSecret } from './named.ts';
import type { OpenSecrets } from './open.ts';
import { SECRET_NAME } from './references.ts';
import { rewrapAll } from './rewrap.ts';
import { Secret } from './secret.ts';
import { credentialText, SECRET_MAX } from './text.ts';

export interface SecretsDeps extends ControlPlaneDeps {
  readonly secrets: OpenSecrets;
  /** The names of the providers: a project's credential is for one of them. */
  readonly providers: readonly string[];
}

const SecretSchema = z
  .object({
    object: z.literal('keygate.secret'),
    id: IdSchema,
    name: z.string(),
    version: z.int().openapi({ description: 'How many values it has had.' }),
    created_at: TimestampSchema,
    updated_at: TimestampSchema,
  })
  .openapi('Secret');
const ListSchema = z.object({
  object: z.literal('list'),
  data: z.array(SecretSchema),
  has_more: z.literal(false),
});
const DeletedSchema = z.object({
  object: z.literal('keygate.secret.deleted'),
  id: IdSchema,
  deleted: z.literal(true),
});

const ValueBody = z.strictObject({
  value: z
    .string()
    .trim()
    .min(1, 'must not be empty')
    .max(SECRET_MAX, `must be at most ${SECRET_MAX} characters long`)
    .refine(credentialText, 'must be visible ASCII characters without spaces'),
});
const Name = z
  .string()
  .regex(SECRET_NAME, 'must be 1 to 63 lower-case letters, digits, dots, dashes and underscores');

function secretObject(row: NamedSecret): z.infer<typeof SecretSchema> {
  return {
    object: 'keygate.secret',
    id: row.id,
    name: row.name,
    version: row.version,
    created_at: seconds(row.created_at),
    updated_at: seconds(row.updated_at),
  };
}

/** Named secrets of the installation, and projects' own credentials at providers. */
export function secretsApi(deps: SecretsDeps, auth: Authentication): ControlApp {
  const app = newApp();
  ownerRoutes(app, deps, auth, {
    path: '/v1/keygate/secrets',
    params: z.object({}),
    name: 'name',
    tag: 'Secrets',
    what: 'secret',
    owner: async (_, organizationId) => ({ organizationId, projectId: null }),
  });
  ownerRoutes(app, deps, auth, {
    path: '/v1/keygate/projects/{project_id}/credentials',
    params: z.object({ project_id: ProjectIdSchema }),
    name: 'provider',
    tag: 'Project credentials',
    what: 'credential',
    owner: async (params, organizationId, changes) => {
      const id = z.object({ project_id: ProjectIdSchema }).parse(params).project_id as ProjectId;
      if (changes) await deps.store.write((tx) => getActiveProject(tx, organizationId, id));
      else await getProject(deps.store.db, organizationId, id);
      return { organizationId, projectId: id };
    },
  });
  return app;
}

interface Of {
  readonly path: string;
  readonly params: z.ZodObject;
  readonly name: 'name' | 'provider';
  readonly tag: string;
  readonly what: string;
  owner(params: unknown, organizationId: OrganizationId, changes: boolean): Promise<Owner>;
}

function ownerRoutes(app: ControlApp, deps: SecretsDeps, { admin }: Authentication, of: Of): void {
  const { store, clock, secrets } = deps;
  const tags = [of.tag];
  const one = of.params.extend({ [of.name]: Name });
  const nameOf = (params: Readonly<Record<string, unknown>>): string => String(params[of.name]);
  const organization = (c: ControlContext) => c.get('principal').organizationId;
  const missing = () => new ApiError(404, `There is no ${of.what} of that name.`);

  const list = createRoute({
    method: 'get',
    path: of.path,
    tags,
    middleware: [admin] as const,
    request: { params: of.params },
    responses: replies(ListSchema, 'Names and versions; values are never shown.'),
  });
  app.openapi(list, async (c) => {
    const owner = await of.owner(c.req.valid('param'), organization(c), false);
    const rows = await listSecrets(store.db, owner);
    return c.json({ object: 'list' as const, data: rows.map(secretObject), has_more: false as const }, 200);
  });

  const get = createRoute({
    method: 'get',
    path: `${of.path}/{${of.name}}`,
    tags,
    middleware: [admin] as const,
    request: { params: one },
    responses: replies(SecretSchema, 'What is known of it, without its value.'),
  });
  app.openapi(get, async (c) => {
    const params = c.req.valid('param');
    const row = await findSecret(store.db, await of.owner(params, organization(c), false), nameOf(params));
    if (row === undefined) throw missing();
    return c.json(secretObject(row), 200);
  });

  const set = createRoute({
    method: 'post',
    path: `${of.path}/{${of.name}}`,
    tags,
    middleware: [admin] as const,
    request: { params: one, body: jsonBody(ValueBody) },
    responses: replies(SecretSchema, 'The secret, set: in use on this node now, on others within a second.'),
  });
  app.openapi(set, async (c) => {
    const params = c.req.valid('param');
    const name = nameOf(params);
    if (of.name === 'provider' && !deps.providers.includes(name)) {
      throw invalidParameter('provider', `Invalid 'provider': no provider of this server has this name.`);
    }
    const owner = await of.owner(params, organization(c), true);
    const value = new Secret(c.req.valid('json').value);
    const row = await setSecret(store, secrets.seals, attribution(c, clock), owner, name, value);
    await secrets.changed(owner, name);
    return c.json(secretObject(row), 200);
  });

  const remove = createRoute({
    method: 'delete',
    path: `${of.path}/{${of.name}}`,
    tags,
    middleware: [admin] as const,
    request: { params: one },
    responses: replies(DeletedSchema, 'It is gone.'),
  });
  app.openapi(remove, async (c) => {
    const params = c.req.valid('param');
    const owner = await of.owner(params, organization(c), false);
    const row = await deleteSecret(store, attribution(c, clock), owner, nameOf(params));
    if (row === undefined) throw missing();
    await secrets.changed(owner, row.name);
    return c.json({ object: 'keygate.secret.deleted' as const, id: row.id, deleted: true as const }, 200);
  });
}

const RootSchema = z
  .object({
    object: z.literal('keygate.root_key'),
    source: z.enum(['configuration', 'file']),
    keys: z
      .array(z.string())
      .openapi({ description: 'Ids of the keys of this node, the one that seals first.' }),
    unopened: z
      .int()
      .openapi({ description: 'Sealed records that did not open on this node since its start.' }),
  })
  .openapi('RootKey');
const RewrapSchema = RootSchema.extend({
  rewrapped: z.array(z.object({ name: z.string(), seen: z.int(), wrapped: z.int(), failed: z.int() })),
}).openapi('RewrappedRootKey');

/** The root key: which it is, a new one, and wrapping everything with it. */
export function rootKeyApi({ store, clock, secrets }: SecretsDeps, { admin }: Authentication): ControlApp {
  const app = newApp();
  const tags = ['Secrets'];
  const { roots, seals } = secrets;
  const rootObject = (): z.infer<typeof RootSchema> => ({
    object: 'keygate.root_key',
    source: roots.generated ? 'file' : 'configuration',
    keys: [...roots.ids],
    unopened: seals.failures,
  });
  const note = (
    c: ControlContext,
    type: 'root_key.rotated' | 'root_key.rewrapped',
    data: Record<string, number>,
  ) =>
    store.write((tx) =>
      append(tx, {
        by: attribution(c, clock),
        projectId: null,
        type,
        payload: { id: roots.ids[0] ?? 'none', data },
      }),
    );

  const get = createRoute({
    method: 'get',
    path: '/v1/keygate/root_key',
    tags,
    middleware: [admin] as const,
    responses: replies(RootSchema, 'Which root key seals: ids only.'),
  });
  app.openapi(get, (c) => c.json(rootObject(), 200));

  const rewrap = async (c: ControlContext): Promise<z.infer<typeof RewrapSchema>> => {
    const rewrapped = await rewrapAll(store, seals, secrets.columns);
    const failed = rewrapped.reduce((sum, each) => sum + each.failed, 0);
    // With a record that could not be wrapped, the older key may still be the only one that opens it.
    if (failed === 0) await roots.forgetOlder();
    const wrapped = rewrapped.reduce((sum, each) => sum + each.wrapped, 0);
    await note(c, 'root_key.rewrapped', { wrapped, failed });
    return { ...rootObject(), rewrapped: rewrapped.map((each) => ({ ...each })) };
  };

  const rewrapRoute = createRoute({
    method: 'post',
    path: '/v1/keygate/root_key/rewrap',
    tags,
    middleware: [admin] as const,
    responses: replies(
      RewrapSchema,
      'Everything is wrapped with the newest key; failed rows keep the older one.',
    ),
  });
  app.openapi(rewrapRoute, async (c) => {
    await roots.sealing();
    return c.json(await rewrap(c), 200);
  });

  const rotate = createRoute({
    method: 'post',
    path: '/v1/keygate/root_key/rotate',
    tags,
    middleware: [admin] as const,
    responses: replies(RewrapSchema, 'A new root key seals, and everything is wrapped with it.'),
  });
  app.openapi(rotate, async (c) => {
    if (!roots.generated) {
      throw new ApiError(
        400,
        'The root key is in the configuration, so it is changed there: put the new one in secrets.root_key, the present ' +
          'one in secrets.previous_root_key, start again, and run `keygate secrets rewrap`.',
      );
    }
    if (store.kind === 'postgres') {
      throw new ApiError(
        400,
        'Nodes of one database share their root key, and this one has it in a file of its own: set secrets.root_key to ' +
          'what root.key holds on every node first.',
      );
    }
    await roots.sealing();
    await roots.turn();
    await note(c, 'root_key.rotated', {});
    return c.json(await rewrap(c), 200);
  });
  return app;
}
