import { describe, expect, test } from 'vitest';
import type { RunningServer, RunServer } from '../../src/cli/serve.ts';
import type { Config } from '../../src/config/model.ts';
import { mintKey } from '../../src/keys/format.ts';
import { SetupError } from '../../src/platform/errors.ts';
import { run, Signals } from './running.ts';

const ADMIN = mintKey('admin');
const PROJECT = mintKey('project');

const FIRST = { organizationId: 'org-1', projectId: 'proj_1', adminKey: ADMIN, projectKey: PROJECT };

/** A server that is up at once, and whose configuration and closing a test can see. */
class Started {
  config: Config | undefined;
  closed = 0;
  closing: Promise<void> = Promise.resolve();
  readonly #up = Promise.withResolvers<void>();
  readonly #server: Partial<RunningServer>;

  constructor(server: Partial<RunningServer> = {}) {
    this.#server = server;
  }

  readonly run: RunServer = async (config) => {
    this.config = config;
    // The command has its first signal's listener by then; the signal itself comes after this call returned.
    setImmediate(this.#up.resolve);
    return {
      url: 'http://127.0.0.1:5001',
      adminUrl: 'http://127.0.0.1:5001',
      firstStart: null,
      notices: [],
      ...this.#server,
      close: () => {
        this.closed++;
        return this.closing;
      },
    };
  };

  get up(): Promise<void> {
    return this.#up.promise;
  }
}

async function serve(args: string[], started: Started, env: Record<string, string> = {}) {
  const signals = new Signals();
  const ran = run(['serve', ...args], { runServer: started.run, signals, env });
  await started.up;
  signals.send();
  return { ...(await ran), signals };
}

describe('serve', () => {
  test('the first start shows the keys and the lines to copy, once; later starts show no secret', async () => {
    const first = await serve([], new Started({ firstStart: FIRST }));
    expect(first.code).toBe(0);
    expect(first.out.split(ADMIN)).toHaveLength(3);
    expect(first.out).toContain(
      `  curl http://127.0.0.1:5001/v1/models -H "Authorization: Bearer ${PROJECT}"\n`,
    );
    expect(first.out).toContain(
      `  export OPENAI_BASE_URL=http://127.0.0.1:5001/v1 OPENAI_API_KEY=${PROJECT}\n`,
    );
    expect(first.out).toContain('shown only now');
    expect(first.err).not.toContain('sk-');
    const second = await serve([], new Started());
    expect(second.out).toContain('listens on http://127.0.0.1:5001; data in /srv/.keygate.');
    expect(second.out + second.err).not.toContain('sk-');
  });

  test('with an admin key of one’s own, the first start shows none', async () => {
    const firstStart = { ...FIRST, adminKey: null, projectKey: null };
    const { out, err } = await serve([], new Started({ firstStart }), { KEYGATE_BOOTSTRAP_ADMIN_KEY: ADMIN });
    expect(out).toContain('took the admin key that was given');
    expect(out + err).not.toMatch(/sk-admin-\w/);
  });

  test('options win over variables, and every option of the help is one', async () => {
    const started = new Started();
    const args = [
      '--host',
      '::1',
      '--port',
      '5000',
      '--data',
      'd',
      '--admin-port',
      '5001',
      '--admin-host',
      '::1',
    ];
    await serve([...args, '--log-level', 'warn', '--node', 'n1'], started, { KEYGATE_PORT: '1' });
    expect(started.config).toMatchObject({
      host: '::1',
      port: 5000,
      dataDir: '/srv/d',
      admin: { host: '::1', port: 5001 },
      logLevel: 'warn',
      node: 'n1',
    });
  });

  test('the first signal lets the server finish, then the command ends with 0', async () => {
    const started = new Started();
    const { code, signals } = await serve([], started);
    expect({ code, closed: started.closed, exited: signals.exited }).toEqual({
      code: 0,
      closed: 1,
      exited: undefined,
    });
    expect(signals.listeners).toBe(0);
  });

  test('a second signal ends it at once with 130; one that only echoes the first does not', async () => {
    const started = new Started();
    const closing = Promise.withResolvers<void>();
    started.closing = closing.promise;
    const signals = new Signals();
    const ran = run(['serve'], { runServer: started.run, signals });
    await started.up;
    signals.send();
    signals.send(499);
    expect(signals.exited).toBeUndefined();
    signals.send(1);
    expect(signals.exited).toBe(130);
    closing.resolve();
    await ran;
    expect(started.closed).toBe(1);
  });

  test('a signal that comes while the server is starting stops it once it is up', async () => {
    const started = new Started();
    const signals = new Signals();
    const ran = run(['serve'], { runServer: started.run, signals });
    signals.send();
    expect(await ran).toMatchObject({ code: 0 });
    expect(started.closed).toBe(1);
  });

  test('a configuration that cannot be used: a sentence and exit code 78, no server', async () => {
    const started = new Started();
    const { code, out, err } = await run(['serve', '--port', 'x'], { runServer: started.run });
    expect({ code, out }).toEqual({ code: 78, out: '' });
    expect(err).toMatch(/^--port must be a port number[^\n]*\n$/);
    expect(started.config).toBeUndefined();
    const taken: RunServer = () => Promise.reject(new SetupError('127.0.0.1:4141 is in use.'));
    expect(await run(['serve'], { runServer: taken })).toEqual({
      code: 78,
      out: '',
      err: '127.0.0.1:4141 is in use.\n',
    });
  });

  test('what the administrator should know is said at the start', async () => {
    const { err } = await serve([], new Started(), { KEYGATE_HOST: '0.0.0.0' });
    expect(err).toMatch(/^Note: keygate listens on 0\.0\.0\.0 without TLS/);
  });
});

describe('serve --check', () => {
  const env = { OPENAI_API_KEY: 'provider-secret', KEYGATE_DATABASE_URL: 'postgres://u:hidden@h/d' };
  const files = { '/srv/keygate.yaml': 'port: 5002\nmodels: {fast: openai/small}' };

  test('prints what would be in effect and where it comes from, without secrets, and starts nothing', async () => {
    const { code, out } = await run(['serve', '--check', '--host', '::1'], { env, files });
    expect(code).toBe(0);
    expect(out).toMatch(/^host +::1 +--host$/m);
    expect(out).toMatch(/^port +5002 +keygate\.yaml$/m);
    expect(out).toMatch(/^database_url +\[redacted\] +KEYGATE_DATABASE_URL$/m);
    expect(out).toMatch(/^bounds\.idle_timeout +1m +default$/m);
    expect(out).toMatch(/^openai +https:\/\/api\.openai\.com\/v1 +\[redacted\] +\* +0 +all$/m);
    expect(out).toMatch(/^fast +openai\/small \(weight 1, priority 0\) +all$/m);
    expect(out).not.toMatch(/provider-secret|hidden/);
  });

  test('prints the same as JSON', async () => {
    const { out } = await run(['serve', '--check', '--json'], { env, files });
    const described = JSON.parse(out);
    expect(described.settings).toContainEqual({ setting: 'port', value: '5002', from: 'keygate.yaml' });
    expect(described.providers[0]).toMatchObject({ name: 'openai', credential: '[redacted]' });
    expect(out).not.toMatch(/provider-secret|hidden/);
  });

  test('refuses like a start would', async () => {
    expect(await run(['serve', '--check'], { env: { KEYGATE_PORT: 'x' } })).toMatchObject({ code: 78 });
  });
});
