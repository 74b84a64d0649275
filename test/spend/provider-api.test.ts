// A provider's own API as the source of a reconciliation: a second keygate that serves the published reports.

import { afterEach, expect, test } from 'vitest';
import { readProviderApi } from '../../src/spend/reports/provider-api.ts';
import { run } from '../cli/running.ts';
import type { TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { startBudgeted } from './budgeted.ts';

let server: TestServer | null = null;
let upstream: Upstream | null = null;
afterEach(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
});

test('pages of days are added up by model: costs by line item, tokens by model', async () => {
  const asked: string[] = [];
  const days = await readProviderApi(
    async (path) => {
      asked.push(path);
      const second = path.includes('page=');
      const start_time = second ? 86_400 : 0;
      const results = path.includes('/costs')
        ? [
            { amount: { value: 0.25, currency: 'usd' }, line_item: 'm, input' },
            { amount: { value: '0.5', currency: 'usd' }, line_item: 'm, output' },
          ]
        : [{ model: 'm', input_tokens: 10, output_tokens: 5, num_model_requests: 2 }];
      return { data: [{ start_time, results }], has_more: !second, next_page: second ? null : 'next' };
    },
    { startTime: 0, endTime: 172_800, projects: ['proj_1'] },
  );
  expect(days).toEqual([
    {
      day: '1970-01-01',
      model: 'm',
      nano: 750_000_000n,
      requests: 2,
      input: 10,
      output: 5,
      accounts: ['proj_1'],
    },
    {
      day: '1970-01-02',
      model: 'm',
      nano: 750_000_000n,
      requests: 2,
      input: 10,
      output: 5,
      accounts: ['proj_1'],
    },
  ]);
  expect(asked).toHaveLength(4);
  expect(asked[0]).toContain('group_by%5B%5D=line_item');
});

test('the command asks a second keygate, with the key by reference only', async () => {
  upstream = await startUpstream();
  upstream.answer = (_asked, response) =>
    sendJson(response, 200, completion('x', { prompt_tokens: 10, completion_tokens: 90 }));
  server = await startBudgeted(upstream.url, [{ scope: 'project', limit: 10n ** 12n }]);
  const { adminUrl, adminKey } = server;
  const reconcile = (args: string[]) =>
    run(['costs', 'reconcile', '--provider', 'mock', ...args], {
      env: { KEYGATE_URL: adminUrl, KEYGATE_ADMIN_KEY: adminKey, BILLING: adminKey },
      now: Date.now() + 86_400_000,
    });
  const direct = await reconcile(['--api', `${adminUrl}/v1`, '--admin-key', adminKey]);
  expect([direct.code, direct.err]).toEqual([78, expect.stringContaining('by reference')]);
  expect(direct.err).not.toContain(adminKey);
  expect((await reconcile([])).code).toBe(2);
  const none = await reconcile(['--api', `${adminUrl}/v1`, '--admin-key', 'env:BILLING']);
  expect([none.code, none.err]).toEqual([2, expect.stringContaining('no rows')]);
});
