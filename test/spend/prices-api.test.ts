// Prices and the explanation of a call's cost on a whole server: what is listed, checked, imported and in effect.

import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCli } from '../../src/cli/program.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

let upstream: Upstream;
let server: TestServer;
const folder = mkdtempSync(join(tmpdir(), 'keygate-prices-'));

beforeAll(async () => {
  upstream = await startUpstream((_asked, response) =>
    sendJson(response, 200, completion('x', { prompt_tokens: 1_000, completion_tokens: 500 })),
  );
  const yaml = `
prices:
  - {provider: mock, models: [priced], input: "1", cached_input: "0.1", output: "10"}
  - {provider: mock, models: ["pri*"], input: "5", output: "5"}
  - {provider: mock, models: ["p*"], input: "6", output: "6"}
  - {provider: elsewhere, models: ["*"], input: "7", output: "7"}
`;
  server = await startTestServer({
    yaml: oneProvider(upstream.url).replace('models: ["*"]', 'models: ["*", priced, nameless]') + yaml,
  });
});

afterAll(async () => {
  await server.stop();
  server.remove();
  await upstream.close();
});

async function get(path: string): Promise<Record<string, unknown>> {
  const { status, body } = await server.admin('GET', `/v1/keygate/${path}`);
  if (status !== 200) throw new Error(`${status} ${JSON.stringify(body)}`);
  return body;
}

/** The command line as a person runs it. */
async function cli(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const { readFileSync } = await import('node:fs');
  const code = await runCli(
    args,
    {
      out: (text) => (out += text),
      err: (text) => (err += text),
      env: { KEYGATE_URL: server.adminUrl, KEYGATE_ADMIN_KEY: server.adminKey },
      cwd: folder,
      hostname: 'box',
      outIsTerminal: false,
      inIsTerminal: false,
      readInput: async () => '',
      readFile: (path) => readFileSync(path, 'utf8'),
      onSignal: () => () => {},
      exitNow: () => {},
      now: () => Date.now(),
      monotonic: () => performance.now(),
    },
    () => Promise.reject(new Error('no server is started here')),
  );
  return { code, out, err };
}

async function call(model: string): Promise<string> {
  const reply = await server.request('/v1/chat/completions', {
    method: 'POST',
    body: JSON.stringify({ model, messages: [], max_tokens: 10 }),
  });
  expect(reply.status).toBe(200);
  await reply.text();
  return reply.headers.get('x-request-id') ?? '';
}

const list = (rows: object[], source = 'contract') =>
  JSON.stringify({ source, date: '2026-11-20', prices: rows });

describe('prices', () => {
  it('of a model are told with the list that decides for it, and its date', async () => {
    expect(await get('prices?provider=mock&model=priced')).toMatchObject({
      data: [
        {
          provider: 'mock',
          models: ['priced'],
          tier: 'default',
          above: 0,
          prices: [
            { column: 'input', dollars: '1', unit: '1M tokens' },
            { column: 'cached_input', dollars: '0.1', unit: '1M tokens' },
            { column: 'output', dollars: '10', unit: '1M tokens' },
          ],
          source: 'keygate.yaml',
        },
      ],
      has_more: false,
    });
    const { data } = (await get('prices?model=gpt-5-mini&provider=openai')) as {
      data: { source: string; date: string; tier: string }[];
    };
    expect(data[0]).toMatchObject({ source: expect.stringContaining('genai-prices'), tier: 'default' });
    expect(data[0]?.date).toMatch(/^\d{4}-\d{2}-\d{2}$/);
    const held = (await get('prices?provider=mock&limit=2')) as { data: unknown[]; has_more: boolean };
    expect([held.data.length, held.has_more]).toEqual([2, true]);
    expect(await get('prices?provider=openai&model=no-such-model')).toMatchObject({ data: [] });
    expect((await cli('prices', 'list', 'priced', '--provider', 'mock')).out).toContain('input 1/1M tokens');
  });

  it('that are missing, never match or overlap are found', async () => {
    const { data } = (await get('prices/check')) as {
      data: { level: string; model: string; message: string }[];
    };
    const of = (model: string) =>
      data
        .filter((each) => each.model === model)
        .map(({ message }) => message)
        .join();
    expect(of('mock/nameless')).toContain('has no price');
    expect(of('mock/priced')).not.toContain('has no price:');
    expect(of('elsewhere/*')).toContain('never matches');
    expect(of('mock/p*')).toContain('overlaps with the row of pri* before it');
    const { code, out, err } = await cli('prices', 'check');
    expect(code).toBe(1);
    expect(out).toContain('mock/nameless');
    expect(err).toContain('have no price');
  });

  it('are imported after a look at what would change, hold from the next call on, and can be taken back', async () => {
    const file = join(folder, 'ours.json');
    writeFileSync(file, list([{ provider: 'mock', models: ['nameless'], input: '2', output: '4' }]));
    const tried = await cli('prices', 'import', 'ours.json', '--dry-run');
    expect(tried.code).toBe(0);
    expect(tried.out).toMatch(/mock +nameless +default +input +none +2 +1M tokens/);
    expect(tried.out).toContain('2 prices would change. Nothing was imported.');
    expect(await get('prices/lists')).toMatchObject({ data: [] });
    const done = await cli('prices', 'import', 'ours.json', '--json');
    const { id, changed } = JSON.parse(done.out) as { id: string; changed: number };
    expect([id, changed]).toEqual([expect.stringMatching(/^prices_/), 2]);
    expect(await get('prices?provider=mock&model=nameless')).toMatchObject({
      data: [{ source: 'contract' }],
    });
    const request = await call('nameless');
    await expect
      .poll(async () => (await server.admin('GET', `/v1/keygate/usage/events?request_id=${request}`)).status)
      .toBe(200);
    expect(await get(`usage/events?request_id=${request}`)).toMatchObject({
      data: [{ cost: { amount: '0.004', price_source: 'contract', price_date: '2026-11-20' } }],
    });
    // The configuration decides before every import.
    writeFileSync(file, list([{ provider: 'mock', models: ['priced'], input: '9', output: '9' }], 'again'));
    expect((await cli('prices', 'import', 'ours.json', '--dry-run')).out).toContain('0 prices would change');
    expect((await cli('prices', 'lists')).out).toContain('contract');
    expect((await cli('prices', 'drop', id)).code).toBe(0);
    expect(await get('prices?provider=mock&model=nameless')).toMatchObject({ data: [] });
    expect((await cli('prices', 'drop', id)).err).toContain('No such price list');
  });

  it('that cannot be read are refused with the reason', async () => {
    writeFileSync(join(folder, 'bad.json'), list([{ provider: 'mock', models: ['x'], input: '-1' }]));
    const bad = await cli('prices', 'import', 'bad.json');
    expect(bad.code).toBe(1);
    expect(bad.err).toContain('write an amount of dollars');
    expect((await cli('prices', 'import', 'missing.json')).err).toContain('cannot be read');
    expect((await cli('prices', 'list', 'x', '--at', 'soon')).err).toContain('is no date');
    const reply = await fetch(`${server.adminUrl}/v1/keygate/prices/import`, {
      method: 'POST',
      headers: { authorization: `Bearer ${server.adminKey}` },
      body: 'x'.repeat(17 * 1024 * 1024),
    });
    expect(reply.status).toBe(413);
  });
});

describe('the explanation of a call', () => {
  it('shows what it used, at which prices, whose, and what was charged', async () => {
    const request = await call('priced');
    await expect
      .poll(async () => (await server.admin('GET', `/v1/keygate/usage/events?request_id=${request}`)).status)
      .toBe(200);
    expect(await get(`usage/events?request_id=${request}`)).toMatchObject({
      object: 'list',
      data: [
        {
          object: 'keygate.usage_event',
          request_id: request,
          project_id: server.projectId,
          model_asked: 'priced',
          outcome: 'ok',
          usage: { input: 1000, output: 500 },
          usage_source: 'provider',
          cost: {
            amount: '0.006',
            charged_to_budgets: false,
            unpriced: false,
            price_version: expect.stringMatching(/^[0-9a-f]{12}$/),
            price_source: 'keygate.yaml',
            prices_changed_since: false,
            lines: [
              { kind: 'input', quantity: 1000, price: '1', per: '1M tokens', amount: '0.001' },
              { kind: 'output', quantity: 500, price: '10', per: '1M tokens', amount: '0.005' },
            ],
          },
        },
      ],
    });
    const { code, out } = await cli('usage', 'explain', request);
    expect(code).toBe(0);
    expect(out).toMatch(/output +500 +\$10 for 1M tokens +\$0\.005/);
    expect(out).toMatch(/charged +\$0\.006/);
    expect(out).toContain('The provider stated what was used.');
  });

  it('of a call that is not there says how long calls are', async () => {
    for (const id of ['req_0123', `req_${'0'.repeat(32)}`]) {
      const reply = await server.admin('GET', `/v1/keygate/usage/events?request_id=${id}`);
      expect(reply.status).toBe(404);
    }
  });
});
