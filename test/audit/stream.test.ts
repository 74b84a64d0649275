// The audit log on its way out: to a syslog receiver and a webhook, in order, at least once; and what retention leaves.

import { createSocket } from 'node:dgram';
import { readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { Webhook } from 'standardwebhooks';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { announceEntries } from '../../src/audit/announce.ts';
import { append, readBase, readHead, verifyChain } from '../../src/audit/chain.ts';
import type { Attribution } from '../../src/audit/model.ts';
import { openAudit } from '../../src/audit/open.ts';
import { pruneAudit } from '../../src/audit/retain.ts';
import { type AuditSink, AuditStream } from '../../src/audit/stream.ts';
import { syslogMessage, syslogSink } from '../../src/audit/syslog.ts';
import { auditWebhook } from '../../src/audit/webhook.ts';
import { Secret } from '../../src/config/model.ts';
import { mintSigningSecret } from '../../src/notify/signature.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { OrganizationId } from '../../src/platform/ids.ts';
import { outgoing } from '../../src/platform/outgoing.ts';
import type { Store } from '../../src/store/store.ts';
import { startReceiver } from '../notify/receiver.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const pem = (name: string) => readFileSync(new URL(`../harness/tls/${name}`, import.meta.url), 'utf8');

interface Syslog {
  readonly port: number;
  readonly messages: string[];
  /** The next connections are reset after this many bytes. */
  resets: number;
  close(): Promise<void>;
}

/** Reads frames by their octet counts, as RFC 6587 section 3.4.1 says. */
async function startSyslog(secure: boolean): Promise<Syslog> {
  const syslog = { messages: [] as string[], resets: 0 };
  const serve = (socket: Socket) => {
    const reset = syslog.resets > 0 && syslog.resets--;
    let bytes = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('data', (chunk: Buffer) => {
      if (reset) return void socket.resetAndDestroy();
      bytes = Buffer.concat([bytes, chunk]);
      for (;;) {
        const space = bytes.indexOf(' ');
        const length = Number(bytes.subarray(0, space).toString());
        if (space < 0 || bytes.length < space + 1 + length) return;
        syslog.messages.push(bytes.subarray(space + 1, space + 1 + length).toString());
        bytes = bytes.subarray(space + 1 + length);
      }
    });
  };
  const server: Server = secure
    ? createTlsServer({ key: pem('server.key'), cert: pem('server.pem') }, serve)
    : createServer(serve);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return Object.assign(syslog, {
    port: (server.address() as AddressInfo).port,
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  });
}

describe.each(stores)('streams of the audit log on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  let clock: ManualClock;
  let errors: unknown[];
  const closing: (() => Promise<unknown>)[] = [];
  beforeEach(async () => {
    place = await fresh();
    clock = new ManualClock();
    store = await place.open({ clock });
    errors = [];
  });
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close();
    await place.remove();
  });

  const write = (count: number) =>
    store.write(async (tx) => {
      const by: Attribution = {
        organizationId: 'org-1' as OrganizationId,
        actor: { type: 'server' },
        at: clock.now(),
      };
      for (let n = 0; n < count; n++)
        await append(tx, {
          by,
          projectId: null,
          type: 'project.created',
          payload: { id: `proj_${n}`, data: { name: 'größe' } },
        });
    });
  const stream = (sink: AuditSink) => {
    const one = new AuditStream({
      store,
      clock,
      node: 'n',
      sink,
      random: () => 0,
      onError: (error) => errors.push(error),
    });
    closing.push(() => one.stop());
    return one;
  };
  const sequence = (messages: readonly string[]) =>
    messages.map((text) => JSON.parse(text.slice(text.indexOf('{'))).seq);

  test.each(['tcp', 'tls'])(
    'syslog over %s gets every entry, in order, as RFC 5424 says',
    async (protocol) => {
      const syslog = await startSyslog(protocol === 'tls');
      closing.push(() => syslog.close());
      const sink = syslogSink({
        url: new URL(`${protocol}://127.0.0.1:${syslog.port}`),
        node: 'node 1',
        ca: pem('ca.pem'),
      });
      await write(700);
      expect(await stream(sink).pass(), String(errors[0])).toBe(true);
      expect(sequence(syslog.messages)).toEqual(Array.from({ length: 700 }, (_, at) => at + 1));
      const [first = ''] = syslog.messages;
      expect(first).toMatch(
        /^<109>1 2026-01-01T00:00:00\.000Z node_1 keygate - project\.created \[meta sequenceId="1"\] \{"object":"keygate\.audit_log"/,
      );
      expect(first).toMatch(/^[\x20-\x7e]+$/);
      expect(JSON.parse(first.slice(first.indexOf('{'))).payload.data.name).toBe('größe');
    },
  );

  test('a receiver that breaks off gets it again, from where it had all', async () => {
    const syslog = await startSyslog(false);
    closing.push(() => syslog.close());
    const one = stream(syslogSink({ url: new URL(`tcp://127.0.0.1:${syslog.port}`), node: 'n' }));
    await write(3);
    await one.pass();
    await write(3);
    syslog.resets = 2;
    expect(await one.pass()).toBe(false);
    expect(one.behind).toBe(3);
    expect(await one.pass()).toBe(false);
    const row = await store.db.selectFrom('audit_streams').selectAll().executeTakeFirst();
    expect(row).toMatchObject({ name: 'syslog', seq: 3, last_error: expect.stringContaining('127.0.0.1') });
    expect(await one.pass()).toBe(true);
    expect(sequence(syslog.messages)).toEqual([1, 2, 3, 4, 5, 6]);
    expect([one.sent, one.failed]).toEqual([6, 2]);
    await syslog.close();
    closing.pop();
    closing.pop();
    await write(1);
    expect(await one.pass(), 'nobody listens').toBe(false);
    await one.stop();
  });

  test('over UDP each entry is one datagram', async () => {
    const socket = createSocket('udp4');
    const got: string[] = [];
    const all = new Promise<void>((resolve) => {
      socket.on('message', (message) => {
        if (got.push(message.toString()) === 3) resolve();
      });
    });
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    closing.push(async () => socket.close());
    await write(3);
    await stream(syslogSink({ url: new URL(`udp://127.0.0.1:${socket.address().port}`), node: 'n' })).pass();
    await all;
    expect(sequence(got)).toEqual([1, 2, 3]);
  });

  test('a webhook gets signed groups in order, and the next when it took the one before', async () => {
    const hook = await startReceiver();
    closing.push(() => hook.close());
    const secret = mintSigningSecret();
    const sink = auditWebhook({
      url: new Secret(hook.url),
      secret: new Secret(secret),
      outgoing: outgoing({ allowPrivate: ['127.0.0.1'] }),
      now: () => Date.now(),
    });
    const one = stream(sink);
    await write(150);
    hook.answers = [200, 503];
    expect(await one.pass()).toBe(false);
    expect(await one.pass()).toBe(true);
    const groups = hook.received.map(({ body, headers }) => {
      expect(new Webhook(secret).verify(body, headers)).toBeTruthy();
      return JSON.parse(body).data.map(({ seq }: { seq: number }) => seq);
    });
    expect(groups.map((group) => [group[0], group.at(-1)])).toEqual([
      [1, 100],
      [101, 150],
      [101, 150],
    ]);
    expect(hook.received[1]?.headers['webhook-id']).toBe(hook.received[2]?.headers['webhook-id']);
    expect(String(errors[0]), 'an address may hold a secret').not.toContain('secret-path');
  });

  test('of two nodes one sends', async () => {
    const got: number[] = [];
    const sink = {
      name: 'x',
      most: 10,
      send: async (entries: readonly { seq: number }[]) => void got.push(...entries.map(({ seq }) => seq)),
    };
    await write(25);
    const [one, two] = [stream(sink), stream(sink)];
    expect(await Promise.all([one.pass(), two.pass()])).toEqual(expect.arrayContaining([true]));
    expect(got).toEqual(Array.from({ length: 25 }, (_, at) => at + 1));
  });

  test('endpoints that ask for audit_log.created are told each entry from then on, once', async () => {
    await write(2);
    await announceEntries(store, clock);
    await store.write(async (tx) => {
      await tx
        .insertInto('organizations')
        .values({ id: 'org-1', name: 'x', created_at: 0 } as never)
        .execute();
      await tx
        .insertInto('webhook_endpoints')
        .values({
          id: 'whe_1',
          organization_id: 'org-1',
          project_id: null,
          name: 'x',
          url: 'https://x.test/',
          event_types: '["audit_log.created"]',
          secret: new Uint8Array(1),
          secret_hint: '',
          old_secret: null,
          old_secret_until: null,
          created_at: 0,
          updated_at: 0,
        })
        .execute();
    });
    await announceEntries(store, clock);
    await write(2);
    await announceEntries(store, clock);
    await announceEntries(store, clock);
    const rows = await store.db.selectFrom('deliveries').select('body').execute();
    expect(rows.map(({ body }) => JSON.parse(body).data.seq).sort()).toEqual([3, 4]);
  });

  test('retention removes the oldest, says so in the chain, and leaves it provable', async () => {
    await write(10);
    const early = await readHead(store.db);
    clock.advance(40 * 86_400_000);
    await write(5);
    const late = await readHead(store.db);
    const all = async () => Number.POSITIVE_INFINITY;
    expect(
      await pruneAudit(store, clock, 30 * 86_400_000, async () => 7),
      'what was not streamed stays',
    ).toBe(7);
    expect(await pruneAudit(store, clock, 30 * 86_400_000, all)).toBe(3);
    expect(await pruneAudit(store, clock, 30 * 86_400_000, all)).toBe(0);
    expect((await readBase(store.db)).seq).toBe(10);
    const verdict = await verifyChain(store, late);
    expect(verdict).toMatchObject({ ok: true, entries: 7, base: { seq: 10, hash: early.hash } });
    expect(await verifyChain(store, { seq: 5, hash: 'f'.repeat(64) })).toMatchObject({
      ok: false,
      problem: expect.stringContaining('removed by retention'),
    });
    const [entry] = await store.db
      .selectFrom('audit_log')
      .select('payload')
      .where('type', '=', 'audit_log.pruned')
      .orderBy('seq', 'desc')
      .execute();
    expect(JSON.parse(entry?.payload ?? '')).toMatchObject({
      data: { through_seq: 10, through_hash: early.hash, entries: 3 },
    });
    expect(
      await store.db.selectFrom('audit_subjects').select('seq').where('seq', '<=', 10).execute(),
    ).toEqual([]);

    // Whoever cuts more off and moves the base along has no entry that says so.
    const cut = await store.db
      .selectFrom('audit_log')
      .select(['seq', 'hash'])
      .where('seq', '=', 12)
      .executeTakeFirstOrThrow();
    await store.db.deleteFrom('audit_log').where('seq', '<=', 12).execute();
    await store.db
      .updateTable('meta')
      .set({ value: `12:${cut.hash}` })
      .where('name', '=', 'audit_base')
      .execute();
    expect(await verifyChain(store)).toMatchObject({
      ok: false,
      problem: expect.stringContaining('no entry says'),
    });
  });

  test('the newest entry is never removed', async () => {
    await write(3);
    clock.advance(400 * 86_400_000);
    await pruneAudit(store, clock, 30 * 86_400_000, async () => Number.POSITIVE_INFINITY);
    expect(await verifyChain(store)).toMatchObject({ ok: true });
    await write(1);
    expect(await verifyChain(store)).toMatchObject({ ok: true });
  });

  test('the configuration opens what it names', async () => {
    const none = openAudit({
      config: { syslog: null, webhookUrl: null, webhookSecret: null, retentionMs: null },
      store,
      clock,
      node: 'n',
      outgoing: outgoing({ allowPrivate: [] }),
      onError: (error) => errors.push(error),
    });
    expect(none.streams).toEqual([]);
    for (const chore of none.chores) await chore();
    await none.close();
    expect(errors).toEqual([]);
  });
});

test('a long type and a strange node name stay within their fields', () => {
  const row = {
    seq: 2_147_483_648,
    id: 'audit_log-1',
    at: 0,
    organization_id: 'org-1',
    project_id: null,
    type: 'workload_identity_provider_mapping.created',
    actor: '{}',
    payload: '{}',
    previous_hash: '',
    hash: '',
  };
  expect(syslogMessage(row, 'a b\nc')).toMatch(
    /^<109>1 1970-01-01T00:00:00\.000Z a_b_c keygate - workload_identity_provider_mappi \[meta sequenceId="1"\] /,
  );
});
