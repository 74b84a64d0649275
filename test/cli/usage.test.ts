// The reports of the command line, against a double that answers pages as the server does.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ServerDouble } from './double.ts';
import { type Given, type Ran, run } from './running.ts';

const NOW = Date.UTC(2026, 10, 23, 15, 30);
const DAY = 86_400;
const TODAY = Date.UTC(2026, 10, 23) / 1000;

const double = new ServerDouble();
let url = '';
beforeAll(async () => {
  url = await double.start();
});
afterAll(() => double.stop());
afterEach(() => {
  double.intercept = undefined;
  double.asked.length = 0;
});

const keygate = (args: string[], given: Given = {}): Promise<Ran> =>
  run(args, { env: { KEYGATE_URL: url, KEYGATE_ADMIN_KEY: double.adminKey }, now: NOW, ...given });

function result(fields: Record<string, unknown>): Record<string, unknown> {
  return {
    object: 'keygate.usage.result',
    project_id: null,
    user_id: null,
    api_key_id: null,
    model: null,
    provider: null,
    family: null,
    operation: null,
    service_tier: null,
    batch: null,
    num_requests: 1,
    num_failed_requests: 0,
    num_cut_requests: 0,
    num_counted_requests: 0,
    num_unpriced_requests: 0,
    input_tokens: 0,
    input_cached_tokens: 0,
    output_tokens: 0,
    images: 0,
    seconds: 0,
    characters: 0,
    searches: 0,
    cost: { amount: '0.000000000', currency: 'usd' },
    ...fields,
  };
}

function bucket(daysAgo: number, ...results: Record<string, unknown>[]) {
  const start_time = TODAY - daysAgo * DAY;
  return { object: 'bucket', start_time, end_time: start_time + DAY, results };
}

/** Answers reports with these buckets, `size` a page. */
function serve(buckets: readonly unknown[], size = 31): URL[] {
  const asked: URL[] = [];
  double.intercept = ({ path }) => {
    const at = new URL(path, url);
    if (!/\/(usage|costs)$/.test(at.pathname)) return undefined;
    asked.push(at);
    const from = Number(at.searchParams.get('page') ?? 0);
    const more = from + size < buckets.length;
    return {
      object: 'page',
      data: buckets.slice(from, from + size),
      has_more: more,
      next_page: more ? String(from + size) : null,
    };
  };
  return asked;
}

const cost = (amount: string) => ({ amount, currency: 'usd' });

describe('keygate usage', () => {
  test('draws the last seven days, with a total', async () => {
    const asked = serve(
      [
        bucket(
          1,
          result({
            num_requests: 1200,
            input_tokens: 30_000,
            output_tokens: 10_000,
            cost: cost('1.250000000'),
          }),
        ),
        bucket(
          0,
          result({
            num_requests: 2,
            num_failed_requests: 1,
            input_tokens: 20_000,
            cost: cost('0.000004200'),
          }),
        ),
      ],
      1,
    );
    const { code, out, err } = await keygate(['usage']);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out.split('\n').map((line) => line.replace(/ +/g, ' '))).toEqual([
      'DAY REQUESTS FAILED INPUT TOKENS OUTPUT TOKENS COST',
      `2026-11-22 1,200 0 30,000 10,000 $1.25 ${'█'.repeat(24)}`,
      `2026-11-23 2 1 20,000 0 $0.000004200 ${'█'.repeat(12)}`,
      'total 1,202 1 50,000 10,000 $1.25',
      '',
    ]);
    expect(asked).toHaveLength(2);
    expect(asked[0]?.searchParams.get('start_time')).toBe(String(TODAY - 6 * DAY));
    expect(asked[0]?.searchParams.get('bucket_width')).toBe('1d');
  });

  test('--group-by adds up over the days, the dearest first, and names projects', async () => {
    const asked = serve([
      bucket(
        1,
        result({ project_id: 'proj_1', cost: cost('1.000000000') }),
        result({ project_id: 'proj_gone' }),
      ),
      bucket(0, result({ project_id: 'proj_gone', cost: cost('2.000000001'), num_requests: 5 })),
    ]);
    const { out } = await keygate(['usage', '--group-by', 'project', '--days', '30', '--project', 'proj_1']);
    expect(out).toMatch(
      /^PROJECT .*\nproj_gone +6 .*\$2\.00.*\nDefault project \(proj_1\) +1 .*\$1\.00.*\ntotal +7 /,
    );
    expect(asked[0]?.searchParams.getAll('group_by[]')).toEqual(['project_id']);
    expect(asked[0]?.searchParams.getAll('project_ids[]')).toEqual(['proj_1']);
  });

  test('says which calls have no price', async () => {
    serve([bucket(0, result({ num_requests: 9, num_unpriced_requests: 7 }))]);
    expect((await keygate(['usage'])).err).toBe(
      '7 calls have no price and are in the cost as nothing: give their models a price.\n',
    );
  });

  test('--csv gives a row for each bucket and group, exact, and no formula', async () => {
    serve([
      bucket(
        0,
        result({ model: '=cmd|"x"', input_tokens: 3, cost: cost('12.345678901') }),
        result({ model: 'b,c' }),
      ),
    ]);
    const { out } = await keygate(['usage', '--group-by', 'model', '--csv']);
    const [head, first, second] = out.split('\r\n');
    expect(head).toMatch(/^start,model,requests,/);
    expect(first).toBe('2026-11-23,"\'=cmd|""x""",1,0,0,0,0,3,0,0,0,0,0,0,12.345678901');
    expect(second).toMatch(/^2026-11-23,"b,c",1,/);
  });

  test('--json gives the buckets of all pages as they came', async () => {
    const buckets = [bucket(2), bucket(1), bucket(0, result({ extra: 1 }))];
    serve(buckets, 2);
    expect(JSON.parse((await keygate(['usage', '--json', '--hourly'])).out)).toEqual({
      object: 'page',
      data: buckets,
    });
  });

  test.each([
    [['usage', '--days', '0'], /from 1 to 400/],
    [['usage', '--days', 'x'], /from 1 to 400/],
    [['usage', '--group-by', 'colour'], /project, user, key/],
    [['usage', '--json', '--csv'], /cannot be used with/],
  ])('%j is a mistake of usage', async (args, message) => {
    const { code, err } = await keygate(args);
    expect(code).toBe(2);
    expect(err).toMatch(message);
  });
});

describe('keygate costs', () => {
  test('draws costs and shares', async () => {
    serve([
      bucket(
        0,
        result({ model: 'a', cost: cost('3.000000000') }),
        result({ model: 'b', cost: cost('1.000000000') }),
      ),
    ]);
    const { out } = await keygate(['costs', '--group-by', 'model']);
    expect(out).toMatch(
      /^MODEL +COST +SHARE +REQUESTS\s*\na +\$3\.00 +75\.0 % +1 +█{24}\nb +\$1\.00 +25\.0 % +1 +█{8}\n/,
    );
  });

  test('--group-by line-item asks the published report', async () => {
    const line = (line_item: string, quantity: number, value: number) => ({
      object: 'organization.costs.result',
      line_item,
      quantity,
      quantity_unit: 'tokens',
      amount: { value, currency: 'usd' },
    });
    const asked = serve([
      bucket(1, line('a, output_tokens', 10, 0.5)),
      bucket(0, line('a, output_tokens', 5, 0.25)),
    ]);
    expect((await keygate(['costs', '--group-by', 'line-item'])).out).toMatch(
      /a, output_tokens +15 +tokens +\$0\.7500/,
    );
    expect(asked[0]?.pathname).toBe('/v1/organization/costs');
  });
});

describe('keygate costs reconcile', () => {
  const ledger = [
    bucket(
      2,
      result({
        model: 'gpt-5',
        num_requests: 10,
        input_tokens: 1000,
        output_tokens: 100,
        cost: cost('1.000000000'),
      }),
      result({ model: 'o9', num_requests: 3, num_unpriced_requests: 3, input_tokens: 10 }),
    ),
    bucket(1, result({ model: 'gpt-5', num_requests: 20, input_tokens: 2000, cost: cost('2.000000000') })),
    bucket(0),
  ];
  const reconcile = (csv: string, ...more: string[]) =>
    keygate(['costs', 'reconcile', '--provider', 'openai', '--file', 'x.csv', ...more], {
      files: { 'x.csv': csv },
    });

  test('lists what differs with a likely cause, and counts what agrees', async () => {
    const asked = serve(ledger);
    const { code, out } = await reconcile(
      [
        'start_time,start_time_iso,amount_value,amount_currency,line_item,project_id',
        '1,2026-11-21T00:00:00+00:00,0.75,usd,"gpt-5-2025-08-07, input",proj_p',
        '1,2026-11-21T00:00:00+00:00,0.25,usd,"gpt-5-2025-08-07, output",proj_p',
        '1,2026-11-21T00:00:00+00:00,0.40,usd,"o9, input",proj_p',
        '1,2026-11-22T00:00:00+00:00,2.001,usd,"gpt-5, input",proj_p',
        '1,2026-11-22T00:00:00+00:00,5,usd,"dall-e-3, image",proj_other',
      ].join('\n'),
    );
    expect(code).toBe(0);
    expect(out).toMatch(/2026-11-21 +o9 +\$0\.00 +\$0\.4000 +\$0\.4000 +3 calls have no price here/);
    expect(out).toMatch(
      /2026-11-22 +dall-e-3 +\$5\.00 +\$5\.00 +Nothing of it went through keygate.*proj_other/,
    );
    expect(out).toMatch(/2 of 4 days of models agree within 0\.5 %\. Here \$3\.00, provider \$8\.40\.\n$/);
    expect(asked[0]?.searchParams.get('providers[]')).toBe('openai');
    expect(asked[0]?.searchParams.get('end_time')).toBe(String(TODAY));
  });

  test('--provider-account leaves out what other keys used', async () => {
    serve(ledger.slice(0, 1));
    const csv =
      'date,model,cost,api_key\n2026-11-21,gpt-5,1,mine\n2026-11-21,gpt-5,9,other\n2026-11-21,o9,0,mine';
    const { out } = await reconcile(csv, '--provider-account', 'mine', '--json');
    expect(JSON.parse(out)).toMatchObject({ agreed: 2, provider_usd: '1.000000000' });
  });

  test('--key compares each key, by the column of keys', async () => {
    serve(ledger.slice(0, 1));
    const csv =
      'date,model,cost,api_key_id\n2026-11-21,gpt-5,0.6,key_old\n2026-11-21,gpt-5,0.4,key_new\n2026-11-21,gpt-5,9,key_x';
    const keys = ['--key', 'openai=key_old', '--key', 'openai=key_new'];
    const { out } = await reconcile(csv, ...keys);
    expect(out).toMatch(/DAY +MODEL +KEY +HERE/);
    expect(out).toMatch(/gpt-5 +key_x +\$9\.00 +\$9\.00 +Nothing of it went through keygate/);
    expect(out).toMatch(/1 of 3 days of keys and models agree/);
    expect((await reconcile('date,model,cost\n2026-11-21,gpt-5,1', ...keys)).err).toMatch(/name no keys/);
    expect((await reconcile(csv, '--key', 'other=key_x')).err).toMatch(/name it with --provider too/);
    expect((await reconcile(csv, '--key', 'openai')).err).toMatch(/PROVIDER=ID/);
    expect((await reconcile(csv)).err).toMatch(/has 3 keys here: key_x \(\$9\.00\)/);
  });

  test('a column of another name is named; one that is not there is told with those that are', async () => {
    serve(ledger.slice(0, 1));
    const csv = 'Day,What,Amount (EUR)\n2026-11-21,gpt-5,1.00\n2026-11-21,o9,0';
    const refused = await reconcile(csv);
    expect(refused.code).toBe(78);
    expect(refused.err).toMatch(/no column that is known as a model.*Day, What, Amount \(EUR\)/);
    const named = await reconcile(csv, '--column', 'model=What', '--column', 'cost=Amount (EUR)', '--csv');
    expect(named.out).toMatch(/^day,model,key,ledger_usd/);
    expect((await reconcile(csv, '--column', 'model=Which')).err).toMatch(/no column "Which"/);
    expect((await reconcile(csv, '--column', 'colour=x')).code).toBe(2);
  });

  test('an export that cannot be read is refused with its row', async () => {
    expect((await reconcile('date,model,cost\n2026-11-21,a,1\nsoon,a,1')).err).toMatch(/row 3: the date/);
    expect((await reconcile('date,model,cost\n2026-11-21,a,much')).err).toMatch(/row 2: the cost/);
    expect((await reconcile('date,model,cost\n"2026-11-21,a')).err).toMatch(/not CSV/);
    expect((await reconcile('date,model,cost')).err).toMatch(/no rows/);
    expect((await keygate(['costs', 'reconcile', '--provider', 'a', '--file', 'none'])).err).toMatch(
      /cannot be read/,
    );
  });
});
