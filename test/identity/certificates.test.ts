// Certificates through the unmodified official client, and mutual TLS through a whole server: a project with an active
// certificate takes calls only from who holds a certificate of that authority; others are not touched.

import { X509Certificate } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI, { AuthenticationError, BadRequestError, NotFoundError } from 'openai';
import { Agent, fetch as undiciFetch } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { leadsTo } from '../../src/identity/certificates/path.ts';
import { identityPart } from '../../src/identity/control-part.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import { errorOf, openPlane, type Plane } from '../access/plane.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { stores } from '../store/stores.ts';
import { type CertificateOptions, CLIENT, certify, type Holder, SERVER } from './authority.ts';

async function all<T>(pages: AsyncIterable<T>): Promise<T[]> {
  const items: T[] = [];
  for await (const item of pages) items.push(item);
  return items;
}

describe.each(stores)('certificates on $kind', (kind) => {
  let plane: Plane;
  let root: Holder;
  beforeAll(async () => {
    plane = await openPlane(kind, (deps) => [
      identityPart({ ...deps, outgoing: outgoing({ allowPrivate: [] }) }),
    ]);
    plane.clock.step(Date.now() - plane.clock.now());
    root = await certify({ name: 'Root', authority: true });
  });
  afterAll(async () => {
    await plane?.close();
  });
  const certificates = () => plane.admin.admin.organization.certificates;
  const ofProject = () => plane.admin.admin.organization.projects.certificates;

  it('uploads, retrieves with content, renames, lists, activates, deactivates and deletes', async () => {
    const made = await certificates().create({ certificate: root.pem, name: 'Root 1' });
    const { validFromDate, validToDate } = new X509Certificate(root.pem);
    const certificate_details = {
      valid_at: Math.floor(validFromDate.getTime() / 1000),
      expires_at: Math.floor(validToDate.getTime() / 1000),
    };
    expect(made).toEqual({
      object: 'certificate',
      id: expect.stringMatching(/^cert_[0-9A-Za-z]{24}$/),
      name: 'Root 1',
      created_at: expect.any(Number),
      certificate_details,
    });
    expect(await certificates().retrieve(made.id)).toEqual(made);
    const whole = await certificates().retrieve(made.id, { include: ['content'] });
    expect(new X509Certificate(whole.certificate_details.content ?? '').fingerprint256).toBe(
      new X509Certificate(root.pem).fingerprint256,
    );
    expect((await certificates().update(made.id, { name: 'Root 2' })).name).toBe('Root 2');

    const listed = { ...made, name: 'Root 2' };
    const inOrganization = (active: boolean) => ({ ...listed, object: 'organization.certificate', active });
    const inProject = (active: boolean) => ({
      ...listed,
      object: 'organization.project.certificate',
      active,
    });
    expect(await all(certificates().list())).toEqual([inOrganization(false)]);
    const ids = { certificate_ids: [made.id] };
    expect((await certificates().activate(ids)).data).toEqual([inOrganization(true)]);
    expect((await certificates().activate(ids)).data).toEqual([inOrganization(true)]);
    expect(await all(ofProject().list(plane.projectId))).toEqual([inProject(false)]);
    expect((await ofProject().activate(plane.projectId, ids)).data).toEqual([inProject(true)]);
    await expect(certificates().delete(made.id)).rejects.toThrow(/is active in the organization/);
    expect((await certificates().deactivate(ids)).data).toEqual([inOrganization(false)]);
    await expect(certificates().delete(made.id)).rejects.toThrow(/is active in the project/);
    expect((await ofProject().deactivate(plane.projectId, ids)).data).toEqual([inProject(false)]);
    expect(await certificates().delete(made.id)).toEqual({ object: 'certificate.deleted', id: made.id });
    await expect(certificates().retrieve(made.id)).rejects.toThrow(NotFoundError);

    const types = await plane.store.db
      .selectFrom('audit_log')
      .select('type')
      .where('type', 'like', 'certificate%')
      .orderBy('seq')
      .execute();
    expect(types.map(({ type }) => type)).toEqual([
      'certificate.created',
      'certificate.updated',
      'certificates.activated',
      'certificates.activated',
      'certificates.deactivated',
      'certificates.deactivated',
      'certificate.deleted',
    ]);
  });

  it('lists over pages, and activates all of them or none', async () => {
    const made: string[] = [];
    for (let n = 0; n < 3; n++) {
      const authority = await certify({ name: `Authority ${n}`, authority: true });
      made.push((await certificates().create({ certificate: authority.pem })).id);
    }
    const listed = (await all(certificates().list({ limit: 2, order: 'asc' }))).map(({ id }) => id);
    expect(listed.toSorted()).toEqual(made.toSorted());
    const [one = ''] = made;
    await expect(certificates().activate({ certificate_ids: [one, 'cert_nobody'] })).rejects.toThrow(
      NotFoundError,
    );
    expect((await all(certificates().list())).some(({ active }) => active)).toBe(false);
    for (const id of made) await certificates().delete(id);
  });

  it('is in effect on the road when the reply arrives', async () => {
    const principal = () => plane.registry.find(plane.projectKey);
    const { id } = await certificates().create({ certificate: root.pem });
    expect(principal()?.project?.trust).toBeNull();
    await ofProject().activate(plane.projectId, { certificate_ids: [id] });
    expect(principal()?.project?.trust?.ids).toEqual([id]);
    await ofProject().deactivate(plane.projectId, { certificate_ids: [id] });
    expect(principal()?.project?.trust).toBeNull();
    await certificates().activate({ certificate_ids: [id] });
    expect(principal()?.organization.trust?.ids).toEqual([id]);
    await certificates().deactivate({ certificate_ids: [id] });
    expect(principal()?.organization.trust).toBeNull();
    await certificates().delete(id);
  });

  it('refuses what is no certificate, a private key by name, one that has expired, and one twice', async () => {
    const expired = await certify({ name: 'Old', authority: true, notAfter: new Date(Date.now() - 1000) });
    const refusals: [string, RegExp][] = [
      ['', /expected one certificate/],
      ['hello', /expected one certificate/],
      [`${root.pem}${root.pem}`, /expected one certificate/],
      [root.pem.replace(/[A-Za-z]/g, 'A'), /./],
      [`${root.pem}${root.keyPem}`, /it holds a private key/],
      [expired.pem, /it has expired/],
    ];
    for (const [certificate, message] of refusals) {
      const made = certificates().create({ certificate });
      await expect(made).rejects.toThrow(BadRequestError);
      await expect(made).rejects.toThrow(message);
    }
    const { id } = await certificates().create({ certificate: root.pem });
    await expect(certificates().create({ certificate: root.pem })).rejects.toThrow(/uploaded before/);
    await certificates().delete(id);
    const reply = await plane.call('POST', '/v1/organization/certificates/activate', {
      body: { certificate_ids: Array.from({ length: 11 }, (_, n) => `cert_${n}`) },
    });
    expect(errorOf(reply).param).toBe('certificate_ids');
  });
});

describe('the way to an authority', () => {
  const der = (holder: Holder) => new X509Certificate(holder.pem).raw;
  const leads = (chain: Holder[], anchors: Holder[], at = Date.now()) =>
    leadsTo(
      chain.map(der),
      anchors.map((anchor) => ({ der: der(anchor) })),
      at,
    );

  it('is found over what the client sent, in any order', async () => {
    const root = await certify({ name: 'Root', authority: true });
    const middle = await certify({ name: 'Middle', authority: true, by: root, pathLength: 0 });
    const leaf = await certify({ name: 'leaf', by: middle });
    expect(await leads([leaf, middle], [root])).toBe(true);
    expect(await leads([leaf, root, middle], [root])).toBe(true);
    expect(await leads([leaf], [middle])).toBe(true);
    expect(await leads([leaf], [leaf])).toBe(true);
    expect(await leads([leaf], [root])).toBe(false);
    expect(await leads([leaf, middle], [root], Date.now() + 100 * 86_400_000)).toBe(false);
  });

  const cases: [string, (root: Holder) => Promise<[Holder[], Holder[]]>][] = [
    [
      'another authority of the same name',
      async (root) => [
        [await certify({ name: 'leaf', by: await certify({ name: root.name, authority: true }) })],
        [root],
      ],
    ],
    [
      'a certificate that signed itself',
      async (root) => [[await certify({ name: 'leaf', issuerName: root.name })], [root]],
    ],
    [
      'a certificate that a client signed',
      async (root) => {
        const client = await certify({ name: 'client', by: root });
        return [[await certify({ name: 'leaf', by: client }), client], [root]];
      },
    ],
    [
      'one authority too many',
      async (root) => {
        const a = await certify({ name: 'A', authority: true, by: root, pathLength: 0 });
        const b = await certify({ name: 'B', authority: true, by: a });
        return [[await certify({ name: 'leaf', by: b }), b, a], [root]];
      },
    ],
    [
      'an authority that has expired',
      async (root) => {
        const a = await certify({
          name: 'A',
          authority: true,
          by: root,
          notAfter: new Date(Date.now() - 1000),
        });
        return [[await certify({ name: 'leaf', by: a }), a], [root]];
      },
    ],
    [
      'a certificate that has expired',
      async (root) => [
        [await certify({ name: 'leaf', by: root, notAfter: new Date(Date.now() - 1000) })],
        [root],
      ],
    ],
    [
      'a certificate of tomorrow',
      async (root) => [
        [await certify({ name: 'leaf', by: root, notBefore: new Date(Date.now() + 86_400_000) })],
        [root],
      ],
    ],
    [
      "a server's certificate",
      async (root) => [[await certify({ name: 'leaf', by: root, usages: [SERVER] })], [root]],
    ],
    [
      'a critical extension that nobody knows',
      async (root) => [[await certify({ name: 'leaf', by: root, critical: '1.2.3.4' })], [root]],
    ],
    ['nothing', async (root) => [[], [root]]],
  ];
  it.each(cases)('is not there for %s', async (_, make) => {
    const [chain, anchors] = await make(await certify({ name: 'Root', authority: true }));
    expect(await leads(chain, anchors)).toBe(false);
  });
});

/** A folder with what a TLS server shows. */
async function serverFiles(over: Partial<CertificateOptions> = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'keygate-tls-'));
  const authority = await certify({ name: 'Server authority', authority: true });
  const write = async (more: Partial<CertificateOptions> = {}) => {
    const holder = await certify({
      name: 'server',
      by: authority,
      usages: [SERVER],
      ip: true,
      ...over,
      ...more,
    });
    writeFileSync(join(dir, 'cert.pem'), holder.pem);
    writeFileSync(join(dir, 'key.pem'), holder.keyPem);
    return holder;
  };
  await write();
  const env = { KEYGATE_TLS_CERT: join(dir, 'cert.pem'), KEYGATE_TLS_KEY: join(dir, 'key.pem') };
  return { dir, authority, write, env };
}

describe('mutual TLS', () => {
  let server: TestServer;
  let files: Awaited<ReturnType<typeof serverFiles>>;
  let root: Holder;
  let middle: Holder;
  let worker: Holder;
  const agents: Agent[] = [];
  const reach = (holder: Holder | null, chain: Holder[] = []) => {
    const agent = new Agent({
      connect: {
        ca: files.authority.pem,
        ...(holder && { cert: [holder, ...chain].map(({ pem }) => pem).join(''), key: holder.keyPem }),
      },
    });
    agents.push(agent);
    return agent;
  };
  const ask = async (
    agent: Agent,
    key: string,
    path = '/v1/models',
    init: Parameters<typeof undiciFetch>[1] = {},
  ) => {
    const reply = await undiciFetch(server.url + path, {
      ...init,
      dispatcher: agent,
      headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    });
    const body = (await reply.json()) as { error?: { code: string }; id?: string; value?: string };
    return { status: reply.status, code: body.error?.code ?? null, body };
  };
  const admin = async (path: string, body: unknown) =>
    (await ask(reach(null), server.adminKey, path, { method: 'POST', body: JSON.stringify(body) })).body;

  beforeAll(async () => {
    files = await serverFiles();
    server = await startTestServer({ env: files.env });
    root = await certify({ name: 'Root', authority: true });
    middle = await certify({ name: 'Middle', authority: true, by: root });
    worker = await certify({ name: 'worker', by: middle });
  });
  afterAll(async () => {
    await Promise.all(agents.map((agent) => agent.destroy()));
    await server?.stop();
    server?.remove();
    rmSync(files.dir, { recursive: true, force: true });
  });

  it('serves HTTPS, to clients with a certificate and without', async () => {
    expect(server.url).toMatch(/^https:/);
    expect((await ask(reach(null), server.projectKey)).status).toBe(200);
    expect((await ask(reach(worker, [middle]), server.projectKey)).status).toBe(200);
    expect((await ask(reach(null), server.adminKey, '/v1/organization/projects')).status).toBe(200);
  });

  it('asks for a certificate in a project where one is active, and in no other', async () => {
    const other = await admin('/v1/organization/projects', { name: 'Other' });
    const otherKey = await admin(`/v1/keygate/projects/${other.id}/api_keys`, { name: 'k' });
    const { id } = await admin('/v1/organization/certificates', { certificate: root.pem });
    const path = `/v1/organization/projects/${server.projectId}/certificates`;
    const plain = reach(null);
    expect((await ask(plain, server.projectKey)).status).toBe(200);
    await admin(`${path}/activate`, { certificate_ids: [id] });
    // The connection is an old one: what counts is what is active now.
    expect(await ask(plain, server.projectKey)).toMatchObject({
      status: 401,
      code: 'client_certificate_required',
    });
    // What the control plane answers to a project's keys asks for it too.
    for (const path of ['/v1/keygate/whoami', '/v1/webhook_endpoints', '/v1/files']) {
      expect((await ask(plain, server.projectKey, path)).code).toBe('client_certificate_required');
    }
    expect((await ask(reach(worker, [middle]), server.projectKey)).status).toBe(200);
    const refused = { status: 401, code: 'client_certificate_not_accepted' };
    expect(await ask(reach(worker), server.projectKey)).toMatchObject(refused);
    const stranger = await certify({
      name: 'stranger',
      by: await certify({ name: 'Root', authority: true }),
    });
    expect(await ask(reach(stranger), server.projectKey)).toMatchObject(refused);
    // A certificate is no key, and a bad key stays one.
    expect((await ask(reach(worker, [middle]), `${server.projectKey.slice(0, -1)}x`)).code).toBe(
      'invalid_api_key',
    );
    expect((await ask(plain, String(otherKey.value))).status).toBe(200);

    const client = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: server.projectKey,
      maxRetries: 0,
      fetch: (url, init) =>
        undiciFetch(String(url), { ...(init as object), dispatcher: reach(worker, [middle]) }) as never,
    });
    const reply = await client.chat.completions.create({
      model: 'sandbox-small',
      messages: [{ role: 'user', content: 'Say hello' }],
    });
    expect(reply.choices).toHaveLength(1);
    const without = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: server.projectKey,
      maxRetries: 0,
      fetch: (url, init) => undiciFetch(String(url), { ...(init as object), dispatcher: plain }) as never,
    });
    await expect(without.models.list()).rejects.toThrow(AuthenticationError);

    await admin(`${path}/deactivate`, { certificate_ids: [id] });
    expect((await ask(plain, server.projectKey)).status).toBe(200);
    // In the organization it counts for every project, and administration stays open to undo it.
    await admin('/v1/organization/certificates/activate', { certificate_ids: [id] });
    expect((await ask(plain, String(otherKey.value))).code).toBe('client_certificate_required');
    await admin('/v1/organization/certificates/deactivate', { certificate_ids: [id] });
  });

  it('believes no Client-Cert header of a stranger', async () => {
    const { id } = await admin('/v1/organization/certificates', {
      certificate: (await certify({ name: 'R', authority: true })).pem,
    });
    const path = `/v1/organization/projects/${server.projectId}/certificates`;
    await admin(`${path}/activate`, { certificate_ids: [id] });
    const reply = await undiciFetch(`${server.url}/v1/models`, {
      dispatcher: reach(null),
      headers: { authorization: `Bearer ${server.projectKey}`, ...clientCert(worker) },
    });
    expect(reply.status).toBe(401);
    await reply.text();
    await admin(`${path}/deactivate`, { certificate_ids: [id] });
  });

  it('shows a renewed certificate without a restart', async () => {
    const renewed = await files.write({ dns: ['renewed.test'] });
    const wanted = new X509Certificate(renewed.pem).fingerprint256;
    await expect
      .poll(
        async () => {
          const { connect } = await import('node:tls');
          const { port } = new URL(server.url);
          return await new Promise<string>((resolve, reject) => {
            const socket = connect(
              { port: Number(port), host: '127.0.0.1', rejectUnauthorized: false },
              () => {
                resolve(socket.getPeerCertificate().fingerprint256);
                socket.destroy();
              },
            );
            socket.once('error', reject);
          });
        },
        { timeout: 15_000, interval: 250 },
      )
      .toBe(wanted);
  });
});

function clientCert(holder: Holder, chain: Holder[] = []): Record<string, string> {
  const bytes = (one: Holder) => `:${new X509Certificate(one.pem).raw.toString('base64')}:`;
  return {
    'client-cert': bytes(holder),
    ...(chain.length > 0 && { 'client-cert-chain': chain.map(bytes).join(', ') }),
  };
}

it('takes the certificate from a trusted proxy that ended TLS (RFC 9440)', async () => {
  const server = await startTestServer({ env: { KEYGATE_TRUSTED_PROXIES: '127.0.0.1' } });
  try {
    const root = await certify({ name: 'Root', authority: true });
    const middle = await certify({ name: 'Middle', authority: true, by: root });
    const worker = await certify({ name: 'worker', by: middle, usages: [CLIENT] });
    const made = await server.admin('POST', '/v1/organization/certificates', { certificate: root.pem });
    const path = `/v1/organization/projects/${server.projectId}/certificates`;
    await server.admin('POST', `${path}/activate`, { certificate_ids: [made.body['id']] });
    const status = async (headers: Record<string, string>) =>
      (await server.request('/v1/models', { headers })).status;
    expect(await status(clientCert(worker, [middle]))).toBe(200);
    expect(await status(clientCert(worker))).toBe(401);
    expect(await status({})).toBe(401);
    expect(await status({ 'client-cert': 'garbage' })).toBe(401);
    expect(await status({ 'client-cert': `:${'A'.repeat(60_000)}:` })).toBe(401);
  } finally {
    await server.stop();
    server.remove();
  }
});
