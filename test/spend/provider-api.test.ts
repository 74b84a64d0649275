// A provider's own API as the source of a reconciliation: a second keygate that serves the published reports.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { readProviderApi } from '../../src/spend/reports/provider-api.ts';
import { run } from '../cli/running.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

test('pages of days are added up by model and key: costs by line item, tokens by model', async () => {
  const asked: string[] = [];
  const who = { project_id: 'proj_1', api_key_id: 'key_1' };
  const days = await readProviderApi(
    async (path) => {
      asked.push(path);
      const second = path.includes('page=');
      const start_time = second ? 86_400 : 0;
      const results = path.includes('/costs')
        ? [
            { ...who, amount: { value: 0.25, currency: 'usd' }, line_item: 'm, input' },
            { ...who, amount: { value: '0.5', currency: 'usd' }, line_item: 'm, output' },
            { project_id: 'proj_2', amount: { value: 9 }, line_item: 'm, output' },
          ]
        : [{ ...who, model: 'm', input_tokens: 10, output_tokens: 5, num_model_requests: 2 }];
      return { data: [{ start_time, results }], has_more: !second, next_page: second ? null : 'next' };
    },
    { startTime: 0, endTime: 172_800, accounts: ['proj_1'] },
  );
  expect(days).toEqual([
    {
      day: '1970-01-01',
      model: 'm',
      key: 'key_1',
      nano: 750_000_000n,
      requests: 2,
      input: 10,
      output: 5,
      accounts: ['proj_1', 'key_1'],
    },
    {
      day: '1970-01-02',
      model: 'm',
      key: 'key_1',
      nano: 750_000_000n,
      requests: 2,
      input: 10,
      output: 5,
      accounts: ['proj_1', 'key_1'],
    },
  ]);
  expect(asked).toHaveLength(4);
  expect(asked[0]).toContain('group_by%5B%5D=line_item&group_by%5B%5D=api_key_id');
});

describe('the command with a second keygate as the provider', () => {
  const since = Math.floor(Date.now() / 1000) - 60;
  let upstream: Upstream;
  let provider: TestServer;
  let server: TestServer;
  /** The provider's keys: of server's two providers, and of a project of its own. */
  let keys: { readonly id: string; readonly value: string }[];
  let ownKey: string;

  beforeAll(async () => {
    const usage = { prompt_tokens: 1000, completion_tokens: 100, total_tokens: 1100 };
    upstream = await startUpstream((asked, response) => {
      if (asked.method !== 'POST') return sendJson(response, 404, {});
      sendJson(response, 200, { ...completion('x', usage), model: asked.json()['model'] });
    });
    provider = await startTestServer({
      yaml: oneProvider(
        upstream.url,
        'prices:\n  - {provider: mock, models: [priced, dear, small], input: "2.50", output: "10"}\n',
      ),
    });
    keys = [];
    for (const name of ['one', 'two', 'own']) keys.push(await provider.createKey({ name }));
    const at = (name: string, models: string) =>
      `  ${name}: {base_url: "${provider.url}/v1", credential: "env:${name.toUpperCase()}_KEY", allow_private: true, models: [${models}]}\n`;
    server = await startTestServer({
      yaml: `providers:\n${at('main', 'priced, dear')}${at('second', 'small')}prices:
  - {provider: main, models: [priced], input: "2.50", output: "10"}
  - {provider: main, models: [dear], input: "5", output: "20"}
  - {provider: second, models: [small], input: "2.50", output: "10"}
`,
      env: { MAIN_KEY: keys[0]?.value ?? '', SECOND_KEY: keys[1]?.value ?? '' },
    });
    const project = await server.admin('POST', '/v1/organization/projects', { name: 'Search team' });
    const path = `/v1/keygate/projects/${project.body['id']}`;
    const own = await server.admin('POST', `${path}/credentials/main`, { value: keys[2]?.value });
    expect(own.status).toBe(200);
    const made = await server.admin('POST', `${path}/api_keys`, { name: 'search' });
    ownKey = String(made.body['value']);
  });
  afterAll(async () => {
    await server?.stop();
    server?.remove();
    await provider?.stop();
    provider?.remove();
    await upstream?.close();
  });

  async function call(at: TestServer, key: string, model: string): Promise<void> {
    const messages = [{ role: 'user', content: 'hi' }];
    const reply = await at.request('/v1/chat/completions', {
      key,
      method: 'POST',
      body: JSON.stringify({ model, messages }),
    });
    expect([reply.status, await reply.json()]).toMatchObject([200, { model }]);
  }

  /** Until a server's reports have so many calls; roll-ups are about a second behind. */
  async function reported(at: TestServer, calls: number): Promise<void> {
    for (let tries = 0; tries < 100; tries++) {
      const { body } = await at.admin('GET', `/v1/keygate/usage?start_time=${since}`);
      if (JSON.stringify(body).includes(`"num_requests":${calls},`)) return;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error(`${calls} calls are not in the reports`);
  }

  const reconcile = (...args: string[]) =>
    run(['costs', 'reconcile', '--provider', 'main,second', ...args], {
      env: {
        KEYGATE_URL: server.adminUrl,
        KEYGATE_ADMIN_KEY: server.adminKey,
        BILLING: provider.adminKey,
      },
      now: Date.now() + 86_400_000,
    });
  const api = (...args: string[]) =>
    reconcile('--api', `${provider.adminUrl}/v1`, '--admin-key', 'env:BILLING', ...args);
  const key = (name: string, at: number) => ['--key', `${name}=${keys[at]?.id}`];

  test('takes its admin key by reference only', async () => {
    const args = ['--api', `${provider.adminUrl}/v1`, '--admin-key', provider.adminKey];
    const direct = await reconcile(...args);
    expect([direct.code, direct.err]).toEqual([78, expect.stringContaining('by reference')]);
    expect(direct.err).not.toContain(provider.adminKey);
    expect((await reconcile()).code).toBe(2);
  });

  test('finds no difference where there is none, in all and by key', async () => {
    await call(server, server.projectKey, 'priced');
    await call(server, server.projectKey, 'priced');
    await call(server, server.projectKey, 'small');
    await call(server, ownKey, 'priced');
    await reported(server, 4);
    await reported(provider, 4);

    const all = await api();
    expect(all.out).toBe('2 of 2 days of models agree within 0.5 %. Here $0.0140, provider $0.0140.\n');
    expect(all.err).toMatch(/^The provider has 3 keys here: .*--key tells them apart\.\n$/);
    for (const { id } of keys) expect(all.err).toContain(id);

    const each = await api(...key('main', 0), ...key('second', 1), ...key('main/Search team', 2));
    expect(each).toMatchObject({
      code: 0,
      err: '',
      out: '3 of 3 days of keys and models agree within 0.5 %. Here $0.0140, provider $0.0140.\n',
    });
  });

  test('knows a key that was not named by sums that agree with the others', async () => {
    const { out } = await api(...key('main', 0), ...key('second', 1), '--json');
    expect(JSON.parse(out)).toMatchObject({
      agreed: 1,
      differences: [
        { model: 'priced', key: keys[2]?.id, cause: 'other_key', difference_usd: '0.003500000' },
        { model: 'priced', key: 'main', cause: 'other_key', difference_usd: '-0.003500000' },
      ],
    });
    const twice = await api(...key('main', 0), ...key('second', 0));
    expect([twice.code, twice.err]).toEqual([2, expect.stringContaining('cannot be told apart')]);
  });

  test('lists a call that went past it, and another price, each with its cause', async () => {
    await call(provider, keys[0]?.value ?? '', 'priced');
    await call(server, server.projectKey, 'dear');
    await reported(server, 5);
    await reported(provider, 6);
    const { out } = await api(
      ...key('main', 0),
      ...key('second', 1),
      ...key('main/Search team', 2),
      '--json',
    );
    expect(JSON.parse(out)).toMatchObject({
      agreed: 2,
      differences: [
        {
          model: 'dear',
          key: 'main',
          cause: 'other_prices',
          because: expect.stringContaining('0.500 times the price here'),
          difference_usd: '-0.003500000',
        },
        {
          model: 'priced',
          key: 'main',
          cause: 'provider_only',
          because: expect.stringContaining('1 calls more'),
          difference_usd: '0.003500000',
        },
      ],
    });
    const only = await api('--provider-account', keys[1]?.id ?? '', '--provider', 'second', '--json');
    expect(JSON.parse(only.out)).toMatchObject({ provider_usd: '0.003500000' });
    expect((await api('--provider-account', 'key_nobody')).err).toContain('check their ids');
  });
});
