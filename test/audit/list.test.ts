// The audit log by the official client, and keygate's own routes beside it.

import type OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ChainCheck, GENESIS } from '../../src/audit/check.ts';
import { PUBLISHED_TYPES } from '../../src/audit/published.ts';
import type { AuditTable } from '../../src/store/schema.ts';
import { errorOf, openPlane, type Plane } from '../access/plane.ts';
import { stores } from '../store/stores.ts';

type Query = OpenAI.Admin.Organization.AuditLogListParams;

describe.each(stores)('the audit log on $kind', (kind) => {
  let plane: Plane;
  let second: string;
  let account: string;
  const start = Date.UTC(2026, 0, 1) / 1000;

  beforeAll(async () => {
    plane = await openPlane(kind);
    const { organization } = plane.admin.admin;
    plane.clock.advance(10_000);
    second = (await organization.projects.create({ name: 'Second' })).id;
    plane.clock.advance(10_000);
    await organization.projects.update(second, { name: 'Renamed' });
    plane.clock.advance(10_000);
    account = (await organization.projects.serviceAccounts.create(second, { name: 'bot' })).id;
    plane.clock.advance(10_000);
    await organization.projects.archive(second);
    const refused = await plane.call('GET', '/v1/organization/projects', { key: plane.projectKey });
    expect(refused.status).toBe(403);
  });
  afterAll(() => plane?.close());

  const list = async (query: Query = {}) => {
    const page = await plane.admin.admin.organization.auditLogs.list(query);
    return page.data;
  };
  const types = async (query: Query = {}) => (await list({ limit: 100, ...query })).map(({ type }) => type);

  test('the newest first, with who did it, in which project, and the details of the type', async () => {
    const [archived, ...rest] = await list();
    expect(archived).toEqual({
      id: expect.stringMatching(/^audit_log-/),
      type: 'project.archived',
      effective_at: start + 40,
      project: { id: second, name: 'Renamed' },
      actor: {
        type: 'api_key',
        api_key: {
          id: expect.stringMatching(/^key_/),
          type: 'user',
          user: { id: expect.stringMatching(/^user-/), email: 'owner@localhost' },
        },
      },
      'project.archived': { id: second },
    });
    const updated = rest.find(({ type }) => type === 'project.updated');
    expect(updated?.['project.updated']).toEqual({ id: second, changes_requested: { title: 'Renamed' } });
    const key = rest.find(({ type }) => type === 'service_account.created');
    expect(key?.['service_account.created']).toEqual({ id: account, data: { role: 'member' } });
  });

  test('holds only event types that the platform has, unless others are named', async () => {
    for (const type of await types()) expect(PUBLISHED_TYPES).toContain(type);
    const own = await list({ event_types: ['administration.refused' as never] });
    expect(own).toHaveLength(1);
    const all = await plane.call('GET', '/v1/keygate/audit_logs?limit=100');
    const { data } = all.body as { data: { type: string; seq: number }[] };
    expect(data.map(({ type }) => type)).toContain('administration.refused');
    expect(data.map(({ seq }) => seq)).toEqual(data.map((_, at) => data.length - at));
  });

  test('pages in both directions, each entry once', async () => {
    const whole = await types();
    const seen: string[] = [];
    for await (const { type } of plane.admin.admin.organization.auditLogs.list({ limit: 2 })) seen.push(type);
    expect(seen).toEqual(whole);
    const entries = await list({ limit: 100 });
    const [third, last] = [entries[2], entries.at(-1)];
    expect(await list({ before: third?.id ?? '', limit: 2 })).toEqual(entries.slice(0, 2));
    expect(await list({ before: last?.id ?? '', limit: 1 })).toEqual(entries.slice(-2, -1));
    expect(await list({ after: last?.id ?? '' })).toEqual([]);
    const page = await plane.admin.admin.organization.auditLogs.list({ limit: 2 });
    expect([page.has_more, page.last_id]).toEqual([true, entries[1]?.id]);
  });

  test('filters by time, project, type, actor, address and resource', async () => {
    expect(await types({ effective_at: { gt: start + 10, lte: start + 20 } })).toEqual(['project.updated']);
    expect(await types({ effective_at: { gte: start + 20, lt: start + 30 } })).toEqual(['project.updated']);
    expect(await types({ effective_at: { gt: start + 40 } })).toEqual([]);
    expect(
      await types({ project_ids: [second], event_types: ['project.archived', 'project.updated'] }),
    ).toEqual(['project.archived', 'project.updated']);
    expect(await types({ project_ids: ['proj_none'] })).toEqual([]);
    const actor = (await list())[0]?.actor?.api_key;
    const mine = await types({ actor_ids: [actor?.id ?? ''] });
    expect(mine).toContain('project.archived');
    expect(mine, 'the first start was nobody’s key').not.toContain('user.added');
    expect(await types({ actor_ids: [actor?.user?.id ?? ''] })).toEqual(mine);
    expect(await types({ actor_emails: ['Owner@localhost', 'other@example.com'] })).toEqual(mine);
    expect(await types({ actor_emails: ['other@example.com'] })).toEqual([]);
    expect(await types({ resource_ids: [account] })).toEqual(['service_account.created']);
    expect(await types({ tenant_only: true })).toEqual([]);
  });

  test('what keygate keeps beyond: what was before, and from which address', async () => {
    const reply = await plane.call('GET', '/v1/keygate/audit_logs?event_types=project.updated');
    const [entry] = (reply.body as { data: Record<string, unknown>[] }).data;
    expect(entry).toMatchObject({
      payload: { id: second, changes_requested: { name: 'Renamed' }, before: { name: 'Second' } },
      actor: { ip_address: '192.0.2.1' },
    });
  });

  test('the export is whole, checks itself, goes on from where it was left, and is an entry itself', async () => {
    const text = async (query: string) => {
      const response = await plane.app.fetch(
        new Request(`http://keygate.test/v1/keygate/audit_logs/export${query}`, {
          headers: { authorization: `Bearer ${plane.adminKey}` },
        }),
        { remoteAddress: '192.0.2.1' },
      );
      expect(response.headers.get('content-type')).toBe('application/x-ndjson');
      return (await response.text()).split('\n').filter((line) => line !== '');
    };
    const rowOf = (line: string): AuditTable => {
      const { actor, payload, ...row } = JSON.parse(line);
      return { ...row, actor: JSON.stringify(actor), payload: JSON.stringify(payload) };
    };
    const lines = await text('');
    const check = new ChainCheck(GENESIS, []);
    for (const line of lines) expect(check.take(rowOf(line))).toBe(true);
    expect(check.end()).toMatchObject({ ok: true, entries: lines.length });
    expect(JSON.parse(lines.at(-1) ?? '')).toMatchObject({
      type: 'audit_log.exported',
      actor: { type: 'api_key' },
    });
    const more = await text(`?after_seq=${lines.length}`);
    expect(more.map((line) => JSON.parse(line).seq)).toEqual([lines.length + 1]);
    const some = await text(`?from=${start + 20}&to=${start + 30}`);
    expect(some.map((line) => JSON.parse(line).type)).toEqual(['project.updated']);
    const altered = rowOf((lines[3] ?? '').replace('Default', 'Other'));
    const again = new ChainCheck(GENESIS, []);
    for (const line of lines.slice(0, 3)) again.take(rowOf(line));
    expect(again.take({ ...altered, payload: `${altered.payload} ` })).toBe(false);
    expect(again.end()).toMatchObject({ ok: false, seq: 4 });
  });

  test('an entry of another organization shows in an export as its place only, and in no list', async () => {
    await plane.store.write(async (tx) => {
      const { append } = await import('../../src/audit/chain.ts');
      await append(tx, {
        by: { organizationId: 'org-other' as never, actor: { type: 'server' }, at: plane.clock.now() },
        projectId: null,
        type: 'project.created',
        payload: { id: 'proj_theirs', data: { name: 'theirs' } },
      });
    });
    const reply = await plane.call('GET', '/v1/keygate/audit_logs?resource_ids=proj_theirs');
    expect((reply.body as { data: unknown[] }).data).toEqual([]);
    const response = await plane.app.fetch(
      new Request('http://keygate.test/v1/keygate/audit_logs/export', {
        headers: { authorization: `Bearer ${plane.adminKey}` },
      }),
      { remoteAddress: '192.0.2.1' },
    );
    const exported = await response.text();
    expect(exported).not.toContain('theirs');
    expect(exported).toContain('"keygate.audit_log.hidden"');
  });

  test.each([
    ['limit=0', 'limit'],
    ['limit=101', 'limit'],
    ['after=audit_log-none', 'after'],
    ['before=audit_log-none', 'before'],
    ['effective_at[gt]=yesterday', 'effective_at[gt]'],
    ['tenant_only=perhaps', 'tenant_only'],
  ])('?%s is refused, and the field named', async (query, param) => {
    const reply = await plane.call('GET', `/v1/organization/audit_logs?${query}`);
    expect([reply.status, errorOf(reply).param]).toEqual([400, param]);
  });

  test('only who may read it reads it', async () => {
    for (const path of [
      'organization/audit_logs',
      'keygate/audit_logs',
      'keygate/audit_logs/head',
      'keygate/audit_logs/export',
    ])
      expect((await plane.call('GET', `/v1/${path}`, { key: plane.projectKey })).status).toBe(403);
  });
});
