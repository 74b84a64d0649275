import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ServerDouble } from './double.ts';
import { type Given, run } from './running.ts';

let server: ServerDouble;
let url: string;

beforeEach(async () => {
  server = new ServerDouble();
  url = await server.start();
});
afterEach(() => server.stop());

const keygate = (args: string[], given: Given = {}) =>
  run(args, { ...given, env: { KEYGATE_URL: url, KEYGATE_ADMIN_KEY: server.adminKey, ...given.env } });

/** Answers this path, and leaves the look-ups of projects and keys to the double. */
function answer(path: string, body: object, status = 200): void {
  server.intercept = (asked, response) => {
    if (asked.path.split('?')[0] !== path) return undefined;
    response.statusCode = status;
    return body;
  };
}

const pool = (fields: object = {}) => ({
  object: 'keygate.limit_level',
  scope: 'organization',
  subject_id: 'org-1',
  cover: 'model',
  name: 'gpt-4o',
  dimension: 'requests_per_minute',
  limit: 10_000,
  used: 250,
  remaining: 9_750,
  reset_ms: 1_499.5,
  ...fields,
});

describe('limits', () => {
  const levels = (data: object[], fields: object = {}) =>
    answer('/v1/keygate/limits', {
      object: 'list',
      data,
      has_more: false,
      tier: '2',
      state: 'known',
      ...fields,
    });

  test('shows what is in use: whose pool, what it counts, how full it is', async () => {
    levels([
      pool(),
      pool({
        scope: 'project',
        subject_id: 'proj_1',
        cover: 'all',
        name: 'all',
        dimension: 'tokens_per_day',
      }),
      pool({ cover: 'group', name: 'small', dimension: 'batch_tokens', reset_ms: null }),
      pool({ cover: 'long_context', name: 'long', used: 0, remaining: 10_000, reset_ms: 0 }),
    ]);
    const { code, out } = await keygate(['limits']);
    expect(code).toBe(0);
    expect(server.asked.at(-1)?.path).toBe('/v1/keygate/limits?in_use=true');
    expect(out).toBe(
      [
        'WHOSE         POOL                 COUNTS        LIMIT   USED  REMAINING  RESETS IN',
        'organization  gpt-4o               RPM           10,000  250   9,750      2s',
        'proj_1        all models           TPD           10,000  250   9,750      2s',
        'organization  small (shared)       batch tokens  10,000  250   9,750      when given back',
        'organization  long (long context)  RPM           10,000  0     10,000     full',
        'The organization is in the usage tier 2.',
        '',
      ].join('\n'),
    );
  });

  test('asks for a project, a model, a key and an end user, and then shows full pools too', async () => {
    levels([pool()]);
    await keygate(['limits', '-p', 'Default project', '-m', 'gpt-4o', '-k', 'key_1', '--end-user', 'a b']);
    expect(server.asked.at(-1)?.path).toBe(
      '/v1/keygate/limits?project_id=proj_1&model=gpt-4o&api_key_id=key_1&end_user=a+b',
    );
    await keygate(['limits', '--key', 'key_1']);
    expect(server.asked.at(-1)?.path).toBe(
      '/v1/keygate/limits?project_id=proj_1&api_key_id=key_1&in_use=true',
    );
    await keygate(['limits', 'show', '--all']);
    expect(server.asked.at(-1)?.path).toBe('/v1/keygate/limits?');
  });

  test('says when nothing is in use, and when nobody knows', async () => {
    levels([]);
    expect((await keygate(['limits'])).out).toContain('Nothing is taken from any limit at the moment');
    levels([pool({ used: null, remaining: null, reset_ms: null })], { state: 'unknown' });
    const { out, err } = await keygate(['limits']);
    expect(err).toContain('does not answer');
    expect(out).toContain('10,000  ?     ?          ?');
  });

  test('--json is what the server answered', async () => {
    levels([pool()]);
    expect(JSON.parse((await keygate(['limits', '--json'])).out)).toMatchObject({
      object: 'list',
      data: [pool()],
      tier: '2',
    });
  });
});

describe('limits set', () => {
  const stated = (path: string, fields: object = {}) =>
    answer(path, {
      object: 'keygate.rate_limit',
      id: 'rl-gpt-4o',
      scope: 'project',
      subject_id: 'proj_1',
      name: 'gpt-4o',
      requests_per_minute: 300,
      requests_per_day: null,
      tokens_per_minute: 200_000,
      tokens_per_day: null,
      images_per_minute: null,
      audio_seconds_per_minute: null,
      batch_tokens: null,
      ...fields,
    });

  test('states limits of a project, with short numbers, and says what is stated now', async () => {
    stated('/v1/keygate/projects/proj_1/limits');
    const { code, out } = await keygate(['limits', 'set', 'gpt-4o', '--rpm', '300', '--tpm', '200k']);
    expect(code).toBe(0);
    expect(server.asked.at(-1)?.body).toEqual({
      name: 'gpt-4o',
      requests_per_minute: 300,
      tokens_per_minute: 200_000,
    });
    expect(out).toBe(
      'Stated about gpt-4o for project proj_1:\nCOUNTS  LIMIT\nRPM     300\nTPM     200,000\n',
    );
  });

  test('takes one away with none', async () => {
    stated('/v1/keygate/projects/proj_1/limits', { requests_per_minute: null, tokens_per_minute: null });
    const { out } = await keygate(['limits', 'set', 'gpt-4o', '--rpm', 'none']);
    expect(server.asked.at(-1)?.body).toEqual({ name: 'gpt-4o', requests_per_minute: null });
    expect(out).toBe('Nothing is stated any more about gpt-4o for project proj_1.\n');
  });

  test('of a key or service account by name or id, of end users, of the organization', async () => {
    server.keys = [
      { id: 'key_1', name: 'one' },
      { id: 'key_2', name: 'two' },
    ];
    server.serviceAccounts = [{ id: 'svc_acct_1', name: 'jobs' }];
    for (const [args, path] of [
      [['--key', 'two'], '/v1/keygate/projects/proj_1/api_keys/key_2/limits'],
      [['-k', 'key_1'], '/v1/keygate/projects/proj_1/api_keys/key_1/limits'],
      [['--service-account', 'jobs'], '/v1/keygate/projects/proj_1/service_accounts/svc_acct_1/limits'],
      [['--end-users'], '/v1/keygate/projects/proj_1/end_users/limits'],
      [['--organization'], '/v1/keygate/organization/limits'],
    ] as const) {
      stated(path);
      expect((await keygate(['limits', 'set', 'all', ...args, '--rpm', '5'])).code, path).toBe(0);
      expect(server.asked.at(-1)).toMatchObject({ method: 'POST', path });
    }
  });

  test.each([
    [['limits', 'set', 'gpt-4o'], 'Say what the limit is: one or more of --rpm, --rpd'],
    [['limits', 'set', '--rpm', '5'], "missing required argument 'name'"],
    [['limits', 'set', 'gpt-4o', '--rpm', 'many'], 'It must be a whole number, such as 300, 200k or 1.5M'],
    [['limits', 'set', 'gpt-4o', '--rpm', '1.5'], 'It must be a whole number'],
    [['limits', 'set', 'gpt-4o', '--rpm', '-1'], 'It must be a whole number'],
    [['limits', 'set', 'm', '--rpm', '1', '--organization', '--end-users'], 'Name one whose limits they are'],
    [['limits', 'set', 'm', '--rpm', '1', '--organization', '-p', 'x'], 'Name one whose limits they are'],
    [['limits', 'nonsense'], 'error'],
  ])('is told of a mistake: %j', async (args, words) => {
    const { code, err } = await keygate(args);
    expect(code).toBe(2);
    expect(err).toContain(words);
    expect(server.asked.filter(({ method }) => method === 'POST')).toEqual([]);
  });

  test("passes the server's refusal on", async () => {
    const path = '/v1/keygate/projects/proj_1/limits';
    answer(path, { error: { message: 'It can only be lowered here.' } }, 400);
    const { code, err } = await keygate(['limits', 'set', 'gpt-4o', '--rpm', '1M']);
    expect({ code, err }).toEqual({
      code: 1,
      err: 'It can only be lowered here. (400, req_double)\n',
    });
  });
});

describe('limits explain', () => {
  test('tells the verdict, and which pool had no room', async () => {
    answer('/v1/keygate/limits/explain/req_1', {
      object: 'keygate.limit_explanation',
      request_id: 'req_1',
      at: 1_767_225_600_000,
      model: 'gpt-4o',
      outcome: 'limit',
      retry_after_ms: 1945.2,
      pools: [
        { ...pool(), requested: 1, refused: false, used: null },
        {
          ...pool({ dimension: 'tokens_per_minute', limit: 30_000 }),
          requested: 3906,
          refused: true,
          used: 28_039,
        },
      ],
    });
    const { code, out } = await keygate(['limits', 'explain', 'req_1']);
    expect(code).toBe(0);
    expect(out).toBe(
      [
        'Request       req_1',
        'At            2026-01-01T00:00:00.000Z',
        'Model         gpt-4o',
        'Verdict       refused: a limit had no room',
        'Told to wait  1.946s',
        '',
        'WHOSE         POOL    COUNTS  LIMIT   ASKED  USED BEFORE',
        'organization  gpt-4o  RPM     10,000  1',
        'organization  gpt-4o  TPM     30,000  3,906  28,039       no room',
        '',
      ].join('\n'),
    );
  });
});

describe('limits simulate', () => {
  const simulation = (fields: object = {}) => ({
    object: 'keygate.limit_simulation',
    calls: 1_000,
    refused: 20,
    tokens: 50_000,
    refused_tokens: 1_234,
    from: 1_767_225_600_000,
    to: 1_767_229_200_000,
    out_of_order: 0,
    unreadable_segments: 0,
    by_project: [{ name: 'proj_1', calls: 1_000, refused: 20, tokens: 50_000, refused_tokens: 1_234 }],
    by_model: [{ name: 'gpt-4o', calls: 900, refused: 20, tokens: 1, refused_tokens: 1_234 }],
    by_limit: [{ ...pool(), refused: 20 }],
    examples: [{ request_id: 'req_9', at: 1, message: 'Rate limit reached for gpt-4o.' }],
    ...fields,
  });
  const files = {
    'table.yaml': "tiers: [{ name: only, limits: { '*': { requests_per_minute: 3 } } }]",
    'keygate.yaml':
      "port: 1\nlimits:\n  when_redis_is_away: open\n  tiers: [{ name: only, limits: { '*': { requests_per_minute: 3 } } }]",
    'bad.yaml': "limits: { tiers: [{ name: only, limits: { '*': { requests_per_minute: -3 } } }] }",
    'broken.yaml': '{',
    'list.yaml': '- 1',
    'calls.ndjson': '{"at":1}\n{"at":2}\n',
  };
  const table = { tiers: [{ name: 'only', limits: { '*': { requests_per_minute: 3 } } }] };

  test('replays the last days against a file, and says what would have been refused', async () => {
    answer('/v1/keygate/limits/simulate', simulation());
    const { code, out } = await keygate(['limits', 'simulate', '--against', 'table.yaml', '--days', '7'], {
      files,
    });
    expect(code).toBe(0);
    expect(server.asked.at(-1)?.body).toEqual({ table, days: 7 });
    expect(out).toContain(
      '1,000 calls from 2026-01-01T00:00:00.000Z to 2026-01-01T01:00:00.000Z: 20 would have been refused (2.0 %), ' +
        'with 1,234 tokens.\n',
    );
    expect(out).toContain('PROJECT  CALLS  REFUSED  REFUSED TOKENS\nproj_1   1,000  20       1,234\n');
    expect(out).toContain('organization  gpt-4o  RPM     10,000  20\n');
    expect(out).toContain('The first, req_9: Rate limit reached for gpt-4o.\n');
  });

  test('takes the table out of a whole configuration file; without a file it is the one that holds', async () => {
    answer('/v1/keygate/limits/simulate', simulation({ refused: 0 }));
    await keygate(['limits', 'simulate', '--against', 'keygate.yaml', '--bare'], { files });
    expect(server.asked.at(-1)?.body).toEqual({ table, statements: 'leave_out', days: 1 });
    const { out } = await keygate(['limits', 'simulate', '--days', '0.5']);
    expect(server.asked.at(-1)?.body).toEqual({ days: 0.5 });
    expect(out.trim().split('\n')).toHaveLength(1);
  });

  test('sends recorded calls, after a line with the table', async () => {
    answer('/v1/keygate/limits/simulate/events', simulation());
    const args = ['limits', 'simulate', '--against', 'table.yaml', '--events', 'calls.ndjson', '--json'];
    const { code, out } = await keygate(args, { files });
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ calls: 1_000, refused: 20 });
    expect(server.asked.at(-1)?.body).toBe(`${JSON.stringify({ table })}\n${files['calls.ndjson']}`);
  });

  test('says that nothing was recorded', async () => {
    answer('/v1/keygate/limits/simulate', simulation({ calls: 0, refused: 0, from: null, to: null }));
    expect((await keygate(['limits', 'simulate'])).out).toBe('No call was recorded in this time.\n');
  });

  test.each([
    ['bad.yaml', 'limits.tiers.0.limits.*.requests_per_minute: a limit is not negative'],
    ['broken.yaml', 'broken.yaml is not valid YAML.'],
    ['list.yaml', 'list.yaml does not hold a table of limits.'],
    ['missing.yaml', 'missing.yaml does not exist.'],
  ])('a file that is none is refused before anything is sent: %s', async (file, words) => {
    const { code, err } = await keygate(['limits', 'simulate', '--against', file], { files });
    expect(code).toBe(78);
    expect(err).toContain(words);
    expect(server.asked).toEqual([]);
  });

  test('either days or events', async () => {
    const { code, err } = await keygate(['limits', 'simulate', '--days', '2', '--events', 'calls.ndjson']);
    expect(code).toBe(2);
    expect(err).toContain('cannot be used with');
    expect((await keygate(['limits', 'simulate', '--days', '0'])).code).toBe(2);
  });
});

describe('limits tier', () => {
  const standing = {
    object: 'keygate.usage_tier',
    tier: '2',
    reached: '1',
    pinned: '2',
    pinned_by: 'administrator',
    paid_cents: 123_450,
    first_payment_at: 1_767_225_600,
    days: 12,
    next: null,
    tiers: [
      { name: '1', paid_cents: 0, days: 0 },
      { name: '2', paid_cents: 5_000, days: 7 },
    ],
  };

  test('shows where the organization stands, and pins and unpins it', async () => {
    answer('/v1/keygate/organization/tier', standing);
    const { out } = await keygate(['limits', 'tier']);
    expect(server.asked.at(-1)?.method).toBe('GET');
    expect(out).toBe(
      [
        'Tier           2',
        'Reached        1',
        'Pinned         to 2, by the administrator',
        'Paid           $1,234.50',
        'First payment  2026-01-01 00:00Z, 12 days ago',
        '',
        'TIER  PAID    DAYS SINCE THE FIRST PAYMENT',
        '1     $0.00   0',
        '2     $50.00  7                             here',
        '',
      ].join('\n'),
    );
    await keygate(['limits', 'tier', '--pin', '2']);
    expect(server.asked.at(-1)?.body).toEqual({ pin: '2' });
    await keygate(['limits', 'tier', '--unpin']);
    expect(server.asked.at(-1)?.body).toEqual({ pin: null });
    expect((await keygate(['limits', 'tier', '--pin', '2', '--unpin'])).code).toBe(2);
  });
});
