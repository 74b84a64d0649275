import OpenAI from 'openai';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { EVENT_TYPES, type NotifyEvent } from '../../src/notify/model.ts';
import { publish } from '../../src/notify/publish.ts';
import { isSigningSecret, mintSigningSecret, signedHeaders } from '../../src/notify/signature.ts';
import type { OrganizationId, ProjectId } from '../../src/platform/ids.ts';
import { errorOf, field } from '../access/plane.ts';
import { stores } from '../store/stores.ts';
import { type NotifyPlane, openNotifyPlane } from './plane.ts';

test('signatures are those of Standard Webhooks', () => {
  const secret = mintSigningSecret();
  expect(isSigningSecret(secret)).toBe(true);
  const at = new Date();
  const headers = signedHeaders([secret], 'evt_1', at.getTime(), '{"a":1}');
  expect(headers['webhook-signature']).toBe(new Webhook(secret).sign('evt_1', at, '{"a":1}'));
  for (const wrong of ['whsec_', 'whsec_AAAA', 'secret', `whsec_${'!'.repeat(44)}`])
    expect(isSigningSecret(wrong)).toBe(false);
});

describe.each(stores)('webhook endpoints on $kind', (kind) => {
  let plane: NotifyPlane;
  beforeEach(async () => {
    plane = await openNotifyPlane(kind);
  });
  afterEach(() => plane.close());

  const event = (over: Partial<NotifyEvent> = {}): NotifyEvent => ({
    organizationId: plane.organizationId as OrganizationId,
    projectId: plane.projectId as ProjectId,
    type: 'batch.completed',
    at: plane.clock.now(),
    data: { id: 'batch_1' },
    ...over,
  });
  const tell = async (one: NotifyEvent) => {
    const id = await plane.store.write((tx) => publish(tx, one));
    await plane.notify.courier.pass();
    return id;
  };

  test('the official client makes, reads, lists, changes and deletes them, and verifies what they get', async () => {
    const { webhooks } = plane.project;
    const made = await webhooks.create({
      name: 'Ours',
      url: plane.hook.url,
      event_types: ['batch.completed', 'batch.failed'],
    });
    expect(made).toEqual({
      id: expect.stringMatching(/^whe_/),
      object: 'webhook_endpoint',
      name: 'Ours',
      url: plane.hook.url,
      event_types: ['batch.completed', 'batch.failed'],
      signing_secret: expect.stringMatching(/^whsec_/),
      signing_secret_hint: `whsec_…${made.signing_secret.slice(-4)}`,
      created_at: Math.floor(plane.clock.now() / 1000),
      updated_at: Math.floor(plane.clock.now() / 1000),
    });
    const { signing_secret, ...shown } = made;
    expect(await webhooks.retrieve(made.id)).toEqual(shown);
    const listed = [];
    for await (const one of webhooks.list({ limit: 1 })) listed.push(one);
    expect(listed).toEqual([shown]);

    const id = await tell(event());
    const [got] = plane.hook.received;
    if (got === undefined) throw new Error('nothing came');
    // The client's own clock decides how old a message may be: the test's began in 2026.
    const tolerance = Number.MAX_SAFE_INTEGER;
    const unwrapped = await webhooks.unwrap(got.body, got.headers, signing_secret, tolerance);
    expect(unwrapped).toEqual({
      object: 'event',
      id,
      type: 'batch.completed',
      created_at: Math.floor(plane.clock.now() / 1000),
      data: { id: 'batch_1' },
    });
    expect(got.headers['webhook-id']).toBe(id);
    await expect(
      webhooks.verifySignature(`${got.body} `, got.headers, signing_secret, tolerance),
    ).rejects.toThrow(OpenAI.InvalidWebhookSignatureError);

    plane.clock.advance(5_000);
    const changed = await webhooks.update(made.id, { name: 'Theirs', event_types: ['batch.failed'] });
    expect(changed).toMatchObject({ name: 'Theirs', updated_at: made.created_at + 5 });
    await tell(event());
    expect(plane.hook.received).toHaveLength(1);
    expect((await webhooks.eventTypes.list()).data).toEqual([...EVENT_TYPES]);
    expect(await webhooks.delete(made.id)).toEqual({
      object: 'webhook_endpoint.deleted',
      id: made.id,
      deleted: true,
    });
    await expect(webhooks.retrieve(made.id)).rejects.toThrow(/No such webhook endpoint/);
  });

  test('a rotated secret signs at once; the old one beside it for 24 hours where that is asked for', async () => {
    const { webhooks } = plane.project;
    const made = await webhooks.create({ name: 'x', url: plane.hook.url, event_types: ['batch.completed'] });
    const first = made.signing_secret;
    const kept = await webhooks.rotateSecret(made.id, { keep_old_secret_active_for_24_hours: true });
    expect(kept.signing_secret).not.toBe(first);
    const accepted = async (secret: string) => {
      await tell(event());
      const got = plane.hook.received.at(-1);
      const verified = webhooks.verifySignature(got?.body ?? '', got?.headers ?? {}, secret, 1e12);
      return await verified.then(
        () => true,
        () => false,
      );
    };
    expect([await accepted(kept.signing_secret), await accepted(first)]).toEqual([true, true]);
    plane.clock.advance(24 * 3_600_000);
    expect([await accepted(kept.signing_secret), await accepted(first)]).toEqual([true, false]);
    const now = await webhooks.rotateSecret(made.id);
    expect([await accepted(now.signing_secret), await accepted(kept.signing_secret)]).toEqual([true, false]);
  });

  test('the signing secret is nowhere in the database, the list or the audit log', async () => {
    const made = await plane.project.webhooks.create({
      name: 'x',
      url: plane.hook.url,
      event_types: ['batch.completed'],
    });
    await tell(event());
    const tables = await Promise.all([
      plane.store.db.selectFrom('webhook_endpoints').selectAll().execute(),
      plane.store.db.selectFrom('audit_log').selectAll().execute(),
      plane.store.db.selectFrom('deliveries').selectAll().execute(),
    ]);
    const text = JSON.stringify(tables, (_, value) =>
      value instanceof Uint8Array ? Buffer.from(value).toString('latin1') : value,
    );
    const raw = Buffer.from(made.signing_secret.slice(6), 'base64').toString('latin1');
    expect(text).not.toContain(made.signing_secret.slice(6, 30));
    expect(text).not.toContain(JSON.stringify(raw).slice(1, -1));
    const log = tables[1].map((row) => row.payload).join();
    expect(log, 'the path of an address may be a secret').not.toContain('secret-path');
    expect(log).toContain('127.0.0.1');
  });

  test('an administrator sees all endpoints; a project only its own, and another project’s is 404', async () => {
    const other = await plane.admin.admin.organization.projects.create({ name: 'Other' });
    const made = async (project_id: string | null) =>
      field(
        await plane.call('POST', '/v1/keygate/webhooks', {
          body: { name: 'x', url: plane.hook.url, event_types: ['batch.completed'], project_id },
        }),
        'id',
      );
    const [own, others, whole] = [await made(plane.projectId), await made(other.id), await made(null)];
    const ids = async (key: string, path: string) => {
      const reply = await plane.call('GET', path, { key });
      return (reply.body as { data: { id: string }[] }).data.map(({ id }) => id).sort();
    };
    expect(await ids(plane.adminKey, '/v1/keygate/webhooks')).toEqual([own, others, whole].sort());
    expect(await ids(plane.projectKey, '/v1/webhook_endpoints')).toEqual([own]);
    for (const id of [others, whole]) {
      for (const [method, path, body] of [
        ['GET', '', undefined],
        ['POST', '', { name: 'mine' }],
        ['DELETE', '', undefined],
        ['POST', '/rotate_secret', {}],
        ['POST', '/test', { event_type: 'batch.completed' }],
      ] as const) {
        const reply = await plane.call(method, `/v1/webhook_endpoints/${id}${path}`, {
          key: plane.projectKey,
          body,
        });
        expect([method, path, reply.status]).toEqual([method, path, 404]);
      }
    }
    await tell(event());
    expect(plane.hook.received, 'the project’s own and the organization’s').toHaveLength(2);
    await tell(event({ projectId: null }));
    expect(plane.hook.received, 'the organization’s only').toHaveLength(3);
  });

  test('keys without the right are refused', async () => {
    const restricted = await plane.call('POST', `/v1/keygate/projects/${plane.projectId}/api_keys`, {
      body: { name: 'reads', scopes: ['api.webhooks.read'] },
    });
    const key = field(restricted, 'value');
    const body = { name: 'x', url: plane.hook.url, event_types: ['batch.completed'] };
    expect((await plane.call('GET', '/v1/webhook_endpoints', { key })).status).toBe(200);
    expect((await plane.call('POST', '/v1/webhook_endpoints', { key, body })).status).toBe(403);
    expect((await plane.call('GET', '/v1/webhook_endpoints')).status).toBe(403);
    expect((await plane.call('GET', '/v1/webhook_endpoints', { key: null })).status).toBe(401);
    expect((await plane.call('GET', '/v1/keygate/webhooks', { key: plane.projectKey })).status).toBe(403);
  });

  test.each([
    [{ url: 'http://127.0.0.2/x' }, 'url'],
    [{ url: 'https://169.254.169.254/latest' }, 'url'],
    [{ url: 'https://user:pass@example.com/' }, 'url'],
    [{ url: 'nonsense' }, 'url'],
    [{ name: '' }, 'name'],
    [{ name: 'a\nb' }, 'name'],
    [{ event_types: [] }, 'event_types'],
    [{ event_types: ['made.up'] }, 'event_types[0]'],
    [{ extra: 1 }, 'extra'],
  ])('%j is refused, and the field named', async (change, param) => {
    const body = { name: 'x', url: plane.hook.url, event_types: ['batch.completed'], ...change };
    const reply = await plane.call('POST', '/v1/webhook_endpoints', { key: plane.projectKey, body });
    expect([reply.status, errorOf(reply).param]).toEqual([400, param]);
  });

  test('a sample event is sent at once, and says what the endpoint answered', async () => {
    const { webhooks } = plane.project;
    const made = await webhooks.create({ name: 'x', url: plane.hook.url, event_types: ['batch.completed'] });
    plane.hook.answers = [204, 503];
    const sample = { event_type: 'batch.completed' } as const;
    expect(await webhooks.test(made.id, sample)).toMatchObject({ status_code: 204, success: true });
    expect(await webhooks.test(made.id, sample)).toMatchObject({ status_code: 503 });
    const [got] = plane.hook.received;
    await webhooks.verifySignature(got?.body ?? '', got?.headers ?? {}, made.signing_secret, 1e12);
    await webhooks.update(made.id, { url: 'http://127.0.0.1:1/' });
    await expect(webhooks.test(made.id, sample)).rejects.toThrow(/gave no answer.*could not be connected/);
  });

  test('deliveries are listed, with why they failed, and tried again when told to', async () => {
    const { webhooks } = plane.project;
    const made = await webhooks.create({ name: 'x', url: plane.hook.url, event_types: ['batch.completed'] });
    plane.hook.answers = [500, 410];
    await tell(event());
    plane.clock.advance(10_000);
    await plane.notify.courier.pass();
    const listed = await plane.call('GET', `/v1/keygate/deliveries?target=${made.id}`);
    const [row] = (listed.body as { data: Record<string, unknown>[] }).data;
    expect(row).toMatchObject({
      state: 'dead',
      attempts: 2,
      last_error: expect.stringContaining('410'),
      event_type: 'batch.completed',
    });
    expect(JSON.stringify(listed.body)).not.toContain('secret-path');
    const path = `/v1/keygate/deliveries/${row?.['id']}/retry`;
    expect((await plane.call('POST', path)).body).toMatchObject({ state: 'waiting' });
    await plane.notify.courier.pass();
    expect(plane.hook.received).toHaveLength(3);
    expect((await plane.call('POST', path)).status).toBe(400);
    expect((await plane.call('POST', '/v1/keygate/deliveries/dlv_none/retry')).status).toBe(404);
    expect(plane.errors).toEqual([]);
  });

  test('what waits for an endpoint goes with it', async () => {
    const { webhooks } = plane.project;
    const made = await webhooks.create({ name: 'x', url: plane.hook.url, event_types: ['batch.completed'] });
    await plane.store.write((tx) => publish(tx, event()));
    await webhooks.delete(made.id);
    await plane.notify.courier.pass();
    expect(plane.hook.received).toEqual([]);
    expect(await plane.store.db.selectFrom('deliveries').selectAll().execute()).toEqual([]);
  });
});
