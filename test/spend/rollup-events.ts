// Usage events for tests of roll-ups and reports: made of few names, so that they meet in the same rows.

import fc from 'fast-check';
import type { PriceList } from '../../src/spend/prices/model.ts';
import { noUsage, type Usage, type UsageEvent } from '../../src/spend/usage.ts';

export const START = Date.UTC(2026, 9, 30, 22, 30);
export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;

const PICO_PER_DOLLAR_A_MILLION = 1_000_000;

/** Two models with prices, one of them dearer from the second day on, and a third without. */
export const LIST: PriceList = {
  source: 'test',
  date: '2026-10-01',
  providers: [
    {
      id: 'acme',
      url: 'https://api\\.acme\\.test',
      fallbacks: [],
      factors: [{ models: ['big'], tier: 'batch', factor: [1, 2] }],
      models: [
        {
          models: ['big'],
          tier: 'default',
          periods: [
            {
              bands: [
                {
                  above: 0,
                  prices: {
                    input: 3 * PICO_PER_DOLLAR_A_MILLION + 7,
                    cachedInput: 300_001,
                    output: 15 * PICO_PER_DOLLAR_A_MILLION,
                    search: 10_000_000_000,
                    image: 40_000_000_001,
                    character: 15_000_000,
                    audioHour: 360_000_000_001,
                  },
                },
              ],
            },
            {
              from: START + DAY,
              bands: [{ above: 0, prices: { input: 4 * PICO_PER_DOLLAR_A_MILLION, output: 16_000_001 } }],
            },
          ],
        },
        {
          models: ['small'],
          tier: 'default',
          periods: [{ bands: [{ above: 0, prices: { input: 100_003, output: 400_001 } }] }],
        },
      ],
    },
  ],
};

export const ADDRESSES: Readonly<Record<string, string>> = {
  'our-acme': 'https://api.acme.test/v1',
  elsewhere: 'https://elsewhere.test/v1',
};

export const NAMES: Readonly<Record<string, string>> = { 'our-acme': 'acme' };

const OPERATIONS = [
  'chat.completions.create',
  'responses.create',
  'embeddings.create',
  'moderations.create',
  'images.generate',
  'images.edit',
  'audio.speech.create',
  'audio.transcriptions.create',
  'responses.retrieve',
];

const few = fc.nat({ max: 50_000 });
const seldom = fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: few });

const usages: fc.Arbitrary<Usage> = fc.record({
  input: few,
  cachedInput: seldom,
  cacheWrite: seldom,
  output: few,
  reasoning: seldom,
  audioInput: seldom,
  audioOutput: seldom,
  imageInput: seldom,
  imageOutput: seldom,
  images: seldom,
  audioMs: seldom,
  characters: seldom,
  searches: seldom,
});

/** Times before 1970 cannot be; three days, and both sides of a minute's, an hour's and a day's edge. */
const times = fc.oneof(
  fc.integer({ min: START, max: START + 3 * DAY }),
  fc.constantFrom(
    START + 90 * MINUTE - 1,
    START + 90 * MINUTE,
    START + 30 * MINUTE - 1,
    START + 30 * MINUTE,
    START + MINUTE - 1,
  ),
);

export const events: fc.Arbitrary<UsageEvent> = fc
  .record({
    at: times,
    projectId: fc.constantFrom('proj_a', 'proj_b'),
    keyId: fc.constantFrom('key_1', 'key_2', 'key_3'),
    ownerId: fc.constantFrom('user-1', 'svc_acct_1'),
    operation: fc.constantFrom(...OPERATIONS),
    modelAsked: fc.constantFrom('big', 'small', 'alias'),
    modelServed: fc.constantFrom('big', 'small', 'unheard-of', ''),
    provider: fc.constantFrom('our-acme', 'elsewhere', ''),
    status: fc.constantFrom(200, 200, 200, 429, 499, 500),
    outcome: fc.constantFrom('ok', 'provider_error', 'client_closed', 'provider_cut', 'timeout'),
    serviceTier: fc.constantFrom('default', 'batch', 'priority'),
    source: fc.constantFrom('provider', 'counted', 'none'),
    test: fc.oneof({ weight: 6, arbitrary: fc.constant(false) }, { weight: 1, arbitrary: fc.constant(true) }),
    usage: fc.oneof({ weight: 5, arbitrary: usages }, { weight: 1, arbitrary: fc.constant(noUsage()) }),
  })
  .map((fields) => event(fields));

let made = 0;

export function event(fields: Partial<UsageEvent>): UsageEvent {
  made++;
  return {
    requestId: `req_${made}`,
    at: START,
    organizationId: 'org-1',
    projectId: 'proj_a',
    keyId: 'key_1',
    ownerId: 'user-1',
    operation: 'chat.completions.create',
    modelAsked: 'big',
    modelServed: 'big',
    provider: 'our-acme',
    status: 200,
    outcome: 'ok',
    streamed: false,
    firstByteMs: 10,
    durationMs: 20,
    serviceTier: 'default',
    source: 'provider',
    usage: noUsage(),
    test: false,
    batch: false,
    spend: null,
    ...fields,
  };
}
