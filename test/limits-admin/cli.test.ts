// The command line against a whole server: what its own tests do against a stand-in.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { run } from '../cli/running.ts';
import { chat, type Limited, startLimited, tier } from './servers.ts';

describe('keygate limits, against a server', () => {
  let limited: Limited;
  beforeAll(async () => {
    limited = await startLimited(tier('gpt-4o: { requests_per_day: 5, tokens_per_day: 100000 }'));
  });
  afterAll(() => limited.close());

  const keygate = async (args: string[], files: Record<string, string> = {}): Promise<string> => {
    const { server } = limited;
    const env = { KEYGATE_URL: server.adminUrl, KEYGATE_ADMIN_KEY: server.adminKey };
    const { code, out, err } = await run(['limits', ...args], { env, files });
    expect({ code, err }).toEqual({ code: 0, err: '' });
    return out;
  };

  test('shows levels, changes limits, explains a refusal, and tells the tier', async () => {
    const { server } = limited;
    expect(await keygate([])).toContain('Nothing is taken from any limit');
    await chat(server);
    expect(await keygate([])).toMatch(/organization {2}gpt-4o {2}RPD {5}5 {8}1 {5}4 {10}4h4\d/);

    expect(await keygate(['set', 'gpt-4o', '--rpd', '1'])).toContain(`for project ${server.projectId}`);
    const { status, headers } = await chat(server);
    expect(status).toBe(200);
    const refused = await chat(server);
    expect(refused.status).toBe(429);
    const id = refused.headers.get('x-request-id') ?? '';
    const said = await keygate(['explain', id]);
    expect(said).toContain('refused: a limit had no room');
    expect(said).toMatch(new RegExp(`${server.projectId} +gpt-4o +RPD +1 +1 +1 +no room`));
    expect(await keygate(['explain', headers.get('x-request-id') ?? ''])).toContain('admitted');

    await keygate(['set', 'gpt-4o', '--rpd', 'none']);
    expect((await chat(server)).status).toBe(200);
    expect(await keygate(['tier', '--pin', 'only'])).toContain('to only, by the administrator');
    expect(await keygate(['tier', '--unpin'])).toMatch(/Pinned +no/);
    const key = await server.createKey({ name: 'worker' });
    expect(await keygate(['set', 'all', '--key', 'worker', '--rpm', '7'])).toContain(`api key ${key.id}`);
    expect(await keygate(['-m', 'gpt-4o', '-k', key.id])).toMatch(
      new RegExp(`${key.id} +all models +RPM +7 +0 +7 +full`),
    );
  });

  test('simulates on what was recorded, and on a file of calls', async () => {
    await vi.waitFor(async () =>
      expect(await limited.server.metric('keygate_usage_events_recorded_total')).toBeGreaterThanOrEqual(3),
    );
    const files = {
      'one.yaml': 'tiers: [{ name: only, limits: { gpt-4o: { requests_per_day: 1 } } }]',
      'calls.ndjson': [0, 1, 2]
        .map((at) => JSON.stringify({ at, project_id: 'proj_x', model: 'gpt-4o', input_tokens: 5 }))
        .join('\n'),
    };
    expect(await keygate(['simulate', '--against', 'one.yaml'], files)).toMatch(
      /3 calls from .*: 2 would have been refused \(66\.7 %\), with 20 tokens\./,
    );
    expect(await keygate(['simulate', '--against', 'one.yaml', '--events', 'calls.ndjson'], files)).toMatch(
      /3 calls from 1970-01-01T00:00:00\.000Z to .*: 2 would have been refused[\s\S]*proj_x +3 +2 +10/,
    );
  });
});
