import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { Arrivals } from '../../src/limits/arrivals.ts';
import type { ReplayedEvent } from '../../src/limits/simulate.ts';
import { chat, type Limited, startLimited, tier } from './servers.ts';

function event(at: number): ReplayedEvent {
  return {
    requestId: `req_${at}`,
    at,
    organizationId: 'org-1',
    projectId: 'proj_1',
    keyId: 'key_1',
    ownerId: '',
    modelAsked: 'gpt-4o',
    usage: { input: 1, output: 1, images: 0, audioMs: 0 },
  };
}

describe('recorded calls', () => {
  test('come in the order of their arrival, however they were written down', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000), { maxLength: 200 }), (times) => {
        const arrivals = new Arrivals();
        for (const at of times) arrivals.add(event(at));
        const middle = [...arrivals.before(500)].map(({ at }) => at);
        const rest = [...arrivals.before(Number.POSITIVE_INFINITY)].map(({ at }) => at);
        const sorted = [...times].sort((a, b) => a - b);
        expect(middle).toEqual(sorted.filter((at) => at < 500));
        expect(rest).toEqual(sorted.filter((at) => at >= 500));
      }),
    );
  });

  test('are held back within a bound', () => {
    const arrivals = new Arrivals(10);
    for (let at = 100; at > 0; at--) {
      arrivals.add(event(at));
      for (const _ of arrivals.before(Number.NEGATIVE_INFINITY));
      expect(arrivals.size).toBeLessThanOrEqual(10);
    }
  });
});

const SIMULATE = '/v1/keygate/limits/simulate';

describe('a table is tried on recorded traffic before it is saved', () => {
  let limited: Limited;
  const three = { tiers: [{ name: 'only', limits: { 'gpt-4o': { requests_per_minute: 3 } } }] };

  beforeAll(async () => {
    limited = await startLimited(tier("'*': { requests_per_minute: 1000 }"));
    for (let i = 0; i < 5; i++) await chat(limited.server);
    for (let i = 0; i < 2; i++) await chat(limited.server, { model: 'gpt-mini' });
    // The journal writes in groups, within a moment.
    await vi.waitFor(async () =>
      expect(await limited.server.metric('keygate_usage_events_recorded_total')).toBe(7),
    );
  });
  afterAll(() => limited.close());

  test('on what this server recorded: what would have been refused, by project, model and limit', async () => {
    const { server } = limited;
    const { status, body } = await server.admin('POST', SIMULATE, { table: three, days: 1 });
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        object: 'keygate.limit_simulation',
        calls: 7,
        refused: 2,
        tokens: 70,
        refused_tokens: 20,
        unreadable_segments: 0,
        by_project: [{ name: server.projectId, calls: 7, refused: 2, tokens: 70, refused_tokens: 20 }],
        by_model: [
          { name: 'gpt-4o', calls: 5, refused: 2 },
          { name: 'gpt-mini', calls: 2, refused: 0 },
        ],
        by_limit: [
          {
            scope: 'organization',
            subject_id: server.organizationId,
            name: 'gpt-4o',
            dimension: 'requests_per_minute',
            limit: 3,
            refused: 2,
          },
        ],
      },
    });
    expect(body['examples']).toMatchObject([
      { message: expect.stringContaining('Limit 3, Used 3, Requested 1') },
      {},
    ]);
  });

  test('without a table, on the one that holds; with statements as they are, or without them', async () => {
    const { server } = limited;
    const refused = async (body: object) =>
      (await server.admin('POST', SIMULATE, { days: 1, ...body })).body['refused'];
    expect(await refused({})).toBe(0);
    const path = `/v1/keygate/projects/${server.projectId}/limits`;
    await server.admin('POST', path, { name: 'gpt-mini', requests_per_minute: 1 });
    expect(await refused({})).toBe(1);
    expect(await refused({ statements: 'leave_out' })).toBe(0);
    await server.admin('POST', path, { name: 'gpt-mini', requests_per_minute: null });
  });

  test('only of the time that is asked for', async () => {
    const since = Math.floor(Date.now() / 1000) + 10;
    expect((await limited.server.admin('POST', SIMULATE, { since })).body).toMatchObject({
      calls: 0,
      from: null,
    });
  });

  test('says what is wrong with the table, and with its other fields', async () => {
    const { server } = limited;
    for (const [body, param, words] of [
      [{ days: 1, table: { tiers: [] } }, 'table', 'table.tiers'],
      [{ days: 1, table: { colour: 'blue' } }, 'table', 'colour'],
      [{}, 'days', "name either 'days' or 'since'"],
      [{ days: 1, since: 1 }, 'days', "name either 'days' or 'since'"],
      [{ days: 0 }, 'days', 'must be above 0'],
      [{ days: 1, statements: 'some' }, 'statements', ''],
    ] as const) {
      expect(await server.admin('POST', SIMULATE, body), JSON.stringify(body)).toMatchObject({
        status: 400,
        body: { error: { param, message: expect.stringContaining(words) } },
      });
    }
  });

  const send = async (lines: readonly unknown[]) => {
    const reply = await limited.server.request(`${SIMULATE}/events`, {
      method: 'POST',
      key: limited.server.adminKey,
      headers: { 'content-type': 'application/x-ndjson' },
      body: lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n'),
    });
    return { status: reply.status, body: (await reply.json()) as Record<string, unknown> };
  };
  const call = (second: number, over: object = {}) => ({
    at: 1_790_000_000 + second,
    project_id: 'proj_recorded',
    model: 'gpt-4o',
    input_tokens: 10,
    output_tokens: 5,
    ...over,
  });

  test('on calls that were recorded elsewhere, in whatever order they ended', async () => {
    const { status, body } = await send([
      { table: three },
      call(3),
      call(0),
      call(1, { at: '2026-09-21T14:13:21Z' }),
      '',
      call(2),
      call(90, { ignored: true }),
    ]);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: {
        calls: 5,
        refused: 1,
        refused_tokens: 15,
        out_of_order: 0,
        from: 1_790_000_000_000,
        by_project: [{ name: 'proj_recorded', calls: 5, refused: 1 }],
      },
    });
  });

  test('a body far beyond what other routes take passes through', async () => {
    const lines: unknown[] = [{ table: three }];
    for (let i = 0; i < 30_000; i++) lines.push(call(i / 10));
    const { status, body } = await send(lines);
    expect(status).toBe(200);
    expect(body).toMatchObject({ calls: 30_000 });
    // Fifty minutes of ten calls a second, of which three a minute pass, and three more at first.
    expect(body['refused']).toBe(30_000 - 3 - Math.floor(2_999.9 / 20));
  });

  test('names the line that cannot be read', async () => {
    for (const [lines, words] of [
      [['nonsense'], 'The first line must be JSON with the table'],
      [[[1]], 'The first line must be an object'],
      [[{ table: three }, call(1), '{'], 'Line 2 of the calls is not JSON.'],
      [[{ table: three }, call(1, { model: 5 })], "Line 1 of the calls does not fit in 'model'"],
      [[{ table: three }, call(1, { at: 'noon' })], "Line 1 of the calls does not fit in 'at'"],
      [[{ table: three }, 'x'.repeat(70_000)], 'Line 1 of the calls'],
    ] as const) {
      const { status, body } = await send(lines);
      expect({ status, body }, words).toMatchObject({
        status: 400,
        body: { error: { message: expect.stringContaining(words) } },
      });
    }
    // It is over with each of them: the next one runs.
    expect((await send([{ table: three }, call(1)])).status).toBe(200);
  });

  test('one at a time: a second is told to come back', async () => {
    const lines: unknown[] = [{ table: three }];
    for (let i = 0; i < 50_000; i++) lines.push(call(i));
    const both = await Promise.all([send(lines), send(lines)]);
    expect(both.map(({ status }) => status).sort()).toEqual([200, 503]);
  });
});
