// The HTTP surface of certificates as the published API has it, of the organization and of its projects.

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
  ProjectIdSchema,
  replies,
  seconds,
  TimestampSchema,
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import { getProject } from '../../access/store.ts';
import type { ProjectId } from '../../platform/ids.ts';
import { PEM_MAX, readPem } from './pem.ts';
import {
  type Certificate,
  createCertificate,
  deleteCertificate,
  getCertificate,
  type ListedCertificate,
  listCertificates,
  renameCertificate,
  toggleCertificates,
} from './store.ts';

const CERTIFICATES = '/v1/organization/certificates';
const OF_PROJECT = '/v1/organization/projects/{project_id}/certificates';
const TOGGLED_MAX = 10;

const Details = z.object({
  valid_at: TimestampSchema,
  expires_at: TimestampSchema,
  content: z.string().optional(),
});
const CertificateSchema = z
  .object({
    object: z.literal('certificate'),
    id: IdSchema,
    name: z.string().nullable(),
    created_at: TimestampSchema,
    certificate_details: Details,
  })
  .openapi('Certificate');

const ListedSchema = <O extends string>(object: O) =>
  CertificateSchema.extend({ object: z.literal(object), active: z.boolean() });

const CertificatePath = z.object({ certificate_id: IdSchema });
const ListQuery = PageQuery.extend({ order: z.enum(['asc', 'desc']).default('desc') });
const Include = z.union([z.literal('content'), z.array(z.literal('content')).max(1)]).optional();
const ToggleBody = z.strictObject({
  certificate_ids: z
    .array(IdSchema)
    .min(1, 'must name at least one certificate')
    .max(TOGGLED_MAX, `must name at most ${TOGGLED_MAX} certificates`),
});

function told(certificate: Certificate, withContent: boolean) {
  return {
    id: certificate.id,
    name: certificate.name,
    created_at: seconds(certificate.created_at),
    certificate_details: {
      valid_at: seconds(certificate.valid_at),
      expires_at: seconds(certificate.expires_at),
      ...(withContent && { content: certificate.content }),
    },
  };
}

export function certificatesApi(deps: ControlPlaneDeps, auth: Authentication): ControlApp {
  const app = newApp();
  // Before the paths with an id, which would take `activate` for one.
  scopeRoutes(app, deps, auth, 'organization');
  scopeRoutes(app, deps, auth, 'organization.project');
  certificateRoutes(app, deps, auth);
  return app;
}

function certificateRoutes(
  app: ControlApp,
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
): void {
  const common = { tags: ['Certificates'], middleware: [admin] };

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: CERTIFICATES,
      request: {
        body: jsonBody(
          z.strictObject({
            certificate: z.string().max(PEM_MAX, `must be at most ${PEM_MAX} characters long`),
            name: NameSchema.nullable().optional(),
          }),
        ),
      },
      responses: replies(CertificateSchema, 'The certificate, which is not active yet.'),
    }),
    async (c) => {
      const { certificate: pem, name = null } = c.req.valid('json');
      const by = attribution(c, clock);
      const read = readPem(pem, by.at);
      const certificate = await store.write((tx) => createCertificate(tx, by, read, name));
      return c.json({ object: 'certificate' as const, ...told(certificate, false) }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path: `${CERTIFICATES}/{certificate_id}`,
      request: {
        params: CertificatePath,
        query: z.object({ include: Include, 'include[]': Include, 'include[0]': Include }),
      },
      responses: replies(CertificateSchema, 'The certificate, with its content if that was asked for.'),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const certificate = await getCertificate(store.db, organizationId, c.req.valid('param').certificate_id);
      const withContent = Object.values(c.req.valid('query')).some((asked) => asked?.includes('content'));
      return c.json({ object: 'certificate' as const, ...told(certificate, withContent) }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'post',
      path: `${CERTIFICATES}/{certificate_id}`,
      request: { params: CertificatePath, body: jsonBody(z.strictObject({ name: NameSchema.optional() })) },
      responses: replies(CertificateSchema, 'The certificate under its new name.'),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const { certificate_id: id } = c.req.valid('param');
      const { name } = c.req.valid('json');
      const certificate = await store.write((tx) => renameCertificate(tx, by, id, name));
      return c.json({ object: 'certificate' as const, ...told(certificate, false) }, 200);
    },
  );

  app.openapi(
    createRoute({
      ...common,
      method: 'delete',
      path: `${CERTIFICATES}/{certificate_id}`,
      request: { params: CertificatePath },
      responses: replies(
        z.object({ object: z.literal('certificate.deleted'), id: IdSchema }),
        'The certificate is gone. One that is active anywhere stays.',
      ),
    }),
    async (c) => {
      const by = attribution(c, clock);
      const { certificate_id: id } = c.req.valid('param');
      await store.write((tx) => deleteCertificate(tx, by, id));
      return c.json({ object: 'certificate.deleted' as const, id }, 200);
    },
  );
}

/** What is listed and switched in an organization, and alike in each of its projects. */
function scopeRoutes(
  app: ControlApp,
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
  of: 'organization' | 'organization.project',
): void {
  const object = `${of}.certificate` as const;
  const schema = ListedSchema(object).openapi(
    of === 'organization' ? 'OrganizationCertificate' : 'OrganizationProjectCertificate',
  );
  const path = of === 'organization' ? CERTIFICATES : OF_PROJECT;
  const params = of === 'organization' ? z.object({}) : z.object({ project_id: ProjectIdSchema });
  const common = { tags: ['Certificates'], middleware: [admin] };
  const projectOf = (given: unknown): ProjectId | null =>
    z.object({ project_id: ProjectIdSchema.optional() }).parse(given).project_id ?? null;
  const shown = (certificate: ListedCertificate): z.infer<typeof schema> => ({
    object,
    active: certificate.active,
    ...told(certificate, false),
  });

  app.openapi(
    createRoute({
      ...common,
      method: 'get',
      path,
      request: { params, query: ListQuery },
      responses: replies(listSchema(schema), "The organization's certificates, and which are active here."),
    }),
    async (c) => {
      const { organizationId } = c.get('principal');
      const projectId = projectOf(c.req.valid('param'));
      if (projectId !== null) await getProject(store.db, organizationId, projectId);
      const { rows, hasMore } = await listCertificates(
        store.db,
        { organizationId, projectId },
        c.req.valid('query'),
      );
      return c.json(listOf(rows.map(shown), hasMore), 200);
    },
  );

  for (const [verb, done] of [
    ['activate', 'activation'],
    ['deactivate', 'deactivation'],
  ] as const) {
    const result = `${object}.${done}` as const;
    app.openapi(
      createRoute({
        ...common,
        method: 'post',
        path: `${path}/${verb}`,
        request: { params, body: jsonBody(ToggleBody) },
        responses: replies(
          z.object({ object: z.literal(result), data: z.array(schema) }),
          `The certificates, ${verb}d here: all of them or none.`,
        ),
      }),
      async (c) => {
        const by = attribution(c, clock);
        const projectId = projectOf(c.req.valid('param'));
        const ids = [...new Set(c.req.valid('json').certificate_ids)];
        const certificates = await store.write((tx) =>
          toggleCertificates(store, tx, by, projectId, ids, verb === 'activate'),
        );
        return c.json({ object: result, data: certificates.map(shown) }, 200);
      },
    );
  }
}
