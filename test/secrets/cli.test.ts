// `keygate secrets …` against a real server: values come on standard input, and none is printed.

import { afterEach, describe, expect, it } from 'vitest';
import { run } from '../cli/running.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
afterEach(async () => {
  await server.stop();
  server.remove();
});

describe('keygate secrets', () => {
  it('sets from standard input, lists, turns the root key and removes, and prints no value', async () => {
    server = await startTestServer({
      yaml: 'providers: {openai: {base_url: "https://api.openai.com/v1", credential: "sealed:openai"}}',
    });
    const env = { KEYGATE_URL: server.adminUrl, KEYGATE_ADMIN_KEY: server.adminKey };
    const keygate = (args: string[], input = '') => run(['secrets', ...args], { env, input });
    const said: string[] = [];
    const ok = async (args: string[], input?: string) => {
      const { code, out, err } = await keygate(args, input);
      expect(err, args.join(' ')).toBe('');
      expect(code).toBe(0);
      said.push(out);
      return out;
    };
    expect(await ok(['set', 'openai'], 'MARKER-one\n')).toContain('1');
    expect(JSON.parse(await ok(['set', 'openai', '--json'], 'MARKER-two'))).toMatchObject({ version: 2 });
    await ok(['set', 'openai', '--project', server.projectId], 'MARKER-team');
    expect(await ok(['list'])).toContain('openai');
    expect(JSON.parse(await ok(['list', '--project', server.projectId, '--json'])).data).toHaveLength(1);
    expect(await ok(['rotate'])).toContain("root.key in the server's data folder");
    expect(JSON.parse(await ok(['rewrap', '--json'])).rewrapped).toContainEqual({
      name: 'secrets',
      seen: 2,
      wrapped: 0,
      failed: 0,
    });
    expect(await ok(['delete', 'openai'])).toContain('gone');
    expect(said.join('')).not.toContain('MARKER');

    expect(await keygate(['set', 'openai'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('standard input'),
    });
    const refused = await keygate(['set', 'openai'], 'MARKER with spaces');
    expect(refused.code).not.toBe(0);
    expect(refused.err).not.toContain('MARKER');
    expect((await keygate(['delete', 'nobody'])).err).toContain('There is no secret of that name');
  });
});
