import { describe, expect, it } from 'vitest';
import { readExport } from '../../src/spend/reports/provider-export.ts';
import { type LedgerDay, type ProviderDay, reconcile } from '../../src/spend/reports/reconcile.ts';

const DOLLAR = 1_000_000_000n;

function ours(fields: Partial<LedgerDay>): LedgerDay {
  return {
    day: '2026-11-21',
    model: 'm',
    key: '',
    nano: 0n,
    requests: 0,
    input: 0,
    output: 0,
    unpriced: 0,
    cut: 0,
    counted: 0,
    failed: 0,
    ...fields,
  };
}

function theirs(fields: Partial<ProviderDay>): ProviderDay {
  return {
    day: '2026-11-21',
    model: 'm',
    key: '',
    nano: null,
    requests: null,
    input: null,
    output: null,
    accounts: [],
    ...fields,
  };
}

const causes = (ledger: LedgerDay[], provider: ProviderDay[], tolerance = 0.005) =>
  reconcile(ledger, provider, tolerance).differences.map(({ day, cause }) => `${day.slice(-2)} ${cause}`);

describe('reconciliation', () => {
  it('is silent about what agrees within the tolerance', () => {
    const ledger = [ours({ nano: 100n * DOLLAR })];
    expect(reconcile(ledger, [theirs({ nano: 100n * DOLLAR + 400_000_000n })], 0.005)).toMatchObject({
      agreed: 1,
      differences: [],
    });
    expect(causes(ledger, [theirs({ nano: 101n * DOLLAR })])).toHaveLength(1);
    expect(causes(ledger, [theirs({ nano: 101n * DOLLAR })], 0.02)).toEqual([]);
  });

  it('knows days of another time zone by sums that agree with the day beside', () => {
    const day = (name: string, dollars: number) => ({ day: name, nano: BigInt(dollars) * DOLLAR });
    expect(
      causes(
        [ours(day('2026-11-20', 50)), ours(day('2026-11-21', 10)), ours(day('2026-11-22', 40))],
        [theirs(day('2026-11-20', 50)), theirs(day('2026-11-21', 15)), theirs(day('2026-11-22', 35))],
      ),
    ).toEqual(['21 timezone', '22 timezone']);
  });

  it('knows what never went through keygate', () => {
    expect(causes([], [theirs({ nano: DOLLAR })])).toEqual(['21 provider_only']);
    expect(
      causes([ours({ nano: DOLLAR, requests: 5 })], [theirs({ nano: 3n * DOLLAR, requests: 9, input: 9 })]),
    ).toEqual(['21 provider_only']);
  });

  it('knows calls without a price', () => {
    expect(causes([ours({ unpriced: 2, requests: 2, input: 9 })], [theirs({ nano: DOLLAR })])).toEqual([
      '21 unpriced',
    ]);
  });

  it('knows other prices by the same tokens', () => {
    const counts = { requests: 4, input: 1000, output: 10 };
    const { differences } = reconcile(
      [ours({ ...counts, nano: 2n * DOLLAR })],
      [theirs({ ...counts, nano: 1n * DOLLAR })],
      0.005,
    );
    expect(differences).toMatchObject([
      { cause: 'other_prices', because: expect.stringContaining('0.500 times') },
    ]);
  });

  it('knows calls that were counted here, because the stream stated no usage or was cut', () => {
    const provider = [theirs({ requests: 4, input: 900, output: 10 })];
    expect(causes([ours({ requests: 4, input: 1000, output: 10, counted: 4 })], provider)).toEqual([
      '21 counted_here',
    ]);
    expect(causes([ours({ requests: 4, input: 1000, output: 10, counted: 1, cut: 1 })], provider)).toEqual([
      '21 cut_here',
    ]);
    expect(causes([ours({ requests: 4, input: 1000, output: 10 })], provider)).toEqual(['21 unknown']);
    expect(
      causes(
        [ours({ requests: 4, input: 100, nano: DOLLAR, counted: 4 })],
        [theirs({ model: 'x', nano: 0n })],
      ),
    ).toEqual(['21 counted_here']);
  });

  it('knows a day that the export does not have yet', () => {
    const ledger = [ours({ nano: DOLLAR }), ours({ day: '2026-11-22', nano: DOLLAR })];
    expect(causes(ledger, [theirs({ nano: DOLLAR })])).toEqual(['22 not_in_export']);
    const { differences } = reconcile(ledger, [], 0.005);
    expect(differences).toMatchObject([
      { cause: 'not_in_export', because: expect.stringContaining('the same account') },
      { cause: 'not_in_export', because: expect.stringContaining('the same account') },
    ]);
  });

  it('compares each key on its own, and knows what another key has instead', () => {
    const dollars = (key: string, amount: bigint) => ({ key, nano: amount * DOLLAR });
    expect(
      causes(
        [ours(dollars('a', 1n)), ours(dollars('b', 2n))],
        [theirs(dollars('b', 2n)), theirs(dollars('a', 1n))],
      ),
    ).toEqual([]);
    expect(causes([ours(dollars('a', 3n))], [theirs(dollars('a', 1n)), theirs(dollars('b', 2n))])).toEqual([
      '21 other_key',
      '21 other_key',
    ]);
    expect(causes([ours(dollars('a', 3n))], [theirs(dollars('a', 3n)), theirs(dollars('b', 2n))])).toEqual([
      '21 provider_only',
    ]);
  });

  it('adds up what several providers here have of one day, model and key', () => {
    const half = { nano: DOLLAR, requests: 2, input: 10, output: 3 };
    const whole = { nano: 2n * DOLLAR, requests: 4, input: 20, output: 6 };
    expect(causes([ours(half), ours(half)], [theirs(whole)])).toEqual([]);
  });

  it('takes a refused call for none where the provider counts only served ones', () => {
    expect(
      causes([ours({ requests: 10, failed: 4, input: 5 })], [theirs({ requests: 6, input: 5 })]),
    ).toEqual([]);
  });

  it('takes a snapshot for its model only where no other could be meant', () => {
    const provider = [theirs({ model: 'gpt-4o-2024-08-06', nano: DOLLAR })];
    expect(causes([ours({ model: 'gpt-4o', nano: DOLLAR })], provider)).toEqual([]);
    expect(causes([ours({ model: 'gpt-4o-2024-05-13', nano: DOLLAR })], provider)).toEqual([]);
    const both = [
      ours({ model: 'gpt-4o', nano: DOLLAR }),
      ours({ model: 'gpt-4o-2024-05-13', nano: DOLLAR }),
    ];
    expect(causes(both, provider)).toHaveLength(3);
  });
});

describe('an export', () => {
  it('of costs adds up lines by day and model', () => {
    const csv = `\ufeffstart_time,end_time,amount_value,amount_currency,line_item,project_id
1763683200,1763769600,0.1234567899,usd,"gpt-5, input",proj_a
1763683200,1763769600,"1,000.5",usd,"gpt-5, output",proj_b
1763769600,1763856000,1e-7,usd,"gpt-5, output",proj_b
`;
    expect(readExport(csv, 'x')).toEqual([
      {
        day: '2025-11-21',
        model: 'gpt-5',
        key: '',
        nano: 1_000_623_456_789n,
        requests: null,
        input: null,
        output: null,
        accounts: ['proj_a', 'proj_b'],
      },
      {
        day: '2025-11-22',
        model: 'gpt-5',
        key: '',
        nano: 100n,
        requests: null,
        input: null,
        output: null,
        accounts: ['proj_b'],
      },
    ]);
  });

  it('of usage adds up its counts, and parts of the input where it states only those', () => {
    const csv = `usage_date_utc,model_version,api_key,usage_input_tokens_no_cache,usage_input_tokens_cache_read,usage_output_tokens
2026-11-21,claude-x,k,10,5,2
2026-11-21,claude-x,k,1,,3`;
    expect(readExport(csv, 'x')).toMatchObject([
      { day: '2026-11-21', model: 'claude-x', nano: null, input: 16, output: 5 },
    ]);
  });

  it('with times of another zone counts them on their day of UTC', () => {
    const csv = 'date,model,cost\n2026-11-21T23:30:00-02:00,a,1\n2026-11-21 23:30:00,a,1\n';
    expect(readExport(csv, 'x').map(({ day }) => day)).toEqual(['2026-11-22', '2026-11-21']);
  });
});
