// Environments: a project is development, staging or production; providers and models of keygate.yaml say whom they
// serve, and a call from elsewhere is refused before any credential is used.

import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { describe as described } from '../../src/config/describe.ts';
import { loadConfig } from '../../src/config/load.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { chatReply, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

let live: Upstream;
let trial: Upstream;
let server: TestServer;

function yaml(liveUrl: string, trialUrl: string): string {
  return `
providers:
  live: {base_url: "${liveUrl}", credential: env:LIVE_KEY, allow_private: true, models: [gpt-live], environments: [production]}
  trial: {base_url: "${trialUrl}", credential: env:TRIAL_KEY, allow_private: true, models: [gpt-trial]}
models:
  smart:
    - {provider: live, model: gpt-live, priority: 1}
    - {provider: trial, model: gpt-trial, priority: 2}
  careful: {targets: trial/gpt-trial, environments: [staging, production]}
`;
}

beforeAll(async () => {
  live = await startUpstream();
  trial = await startUpstream();
  server = await startTestServer({
    yaml: yaml(live.url, trial.url),
    env: { KEYGATE_CONFIG: 'keygate.yaml', LIVE_KEY: 'live-credential', TRIAL_KEY: 'trial-credential' },
  });
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
  await live?.close();
  await trial?.close();
});

beforeEach(() => {
  for (const upstream of [live, trial]) {
    upstream.answer = chatReply();
    upstream.asked.length = 0;
  }
});

async function project(environment: string): Promise<{ id: string; key: string; client: OpenAI }> {
  const made = await server.admin('POST', '/v1/keygate/projects', { name: environment, environment });
  expect(made.body).toMatchObject({
    object: 'keygate.project',
    environment,
    status: 'active',
    is_default: false,
  });
  const id = String(made.body['id']);
  const key = await server.admin('POST', `/v1/keygate/projects/${id}/api_keys`, { name: 'key' });
  expect(key.body['environment']).toBe(environment);
  const value = String(key.body['value']);
  return {
    id,
    key: value,
    client: new OpenAI({ baseURL: `${server.url}/v1`, apiKey: value, maxRetries: 0 }),
  };
}

const chat = (client: OpenAI, model: string) =>
  client.chat.completions.create({ model, messages: [{ role: 'user', content: 'hi' }] });

async function modelsOf(client: OpenAI): Promise<string[]> {
  const ids: string[] = [];
  for await (const model of client.models.list()) ids.push(model.id);
  return ids.filter((id) => !id.startsWith('sandbox-'));
}

describe('a development project', () => {
  it('is refused what is kept for others, with a reason, and never reaches a production credential', async () => {
    const { id, client } = await project('development');
    for (const model of ['gpt-live', 'careful']) {
      await expect(chat(client, model)).rejects.toMatchObject({
        status: 403,
        code: 'environment_not_allowed',
        param: 'model',
        message: `403 Project \`${id}\` is a development project, and model \`${model}\` is kept for projects of other environments.`,
      });
    }
    expect(await modelsOf(client)).toEqual(['smart', 'gpt-trial']);
    await expect(client.models.retrieve('gpt-live')).rejects.toMatchObject({ status: 403 });
    await chat(client, 'gpt-trial');
    // Of several targets only those are left that may serve it, also when they fail.
    await chat(client, 'smart');
    trial.answer = (_asked, response) => sendJson(response, 500, { error: { message: 'down' } });
    await chat(client, 'smart').catch(() => {});
    expect(live.asked).toHaveLength(0);
    expect(trial.asked).toHaveLength(3);
  });

  it('reaches the sandbox with a test key whatever model it names', async () => {
    const { id } = await project('development');
    const made = await server.admin('POST', `/v1/keygate/projects/${id}/api_keys`, {
      name: 't',
      type: 'test',
    });
    const client = new OpenAI({
      baseURL: `${server.url}/v1`,
      apiKey: String(made.body['value']),
      maxRetries: 0,
    });
    await chat(client, 'gpt-live');
    expect(live.asked).toHaveLength(0);
  });
});

describe('a production project', () => {
  it('is served by what is kept for it and by what serves all', async () => {
    const { client } = await project('production');
    expect(await modelsOf(client)).toEqual(['smart', 'careful', 'gpt-live', 'gpt-trial']);
    await chat(client, 'smart');
    await chat(client, 'careful');
    expect(live.asked[0]?.headers.authorization).toBe('Bearer live-credential');
    expect(trial.asked).toHaveLength(1);
  });

  it('loses it in the moment in which it is made something else, and its keys say so', async () => {
    const { id, key, client } = await project('production');
    await chat(client, 'gpt-live');
    const changed = await server.admin('POST', `/v1/keygate/projects/${id}`, { environment: 'staging' });
    expect(changed.body).toMatchObject({ id, name: 'production', environment: 'staging' });
    await expect(chat(client, 'gpt-live')).rejects.toMatchObject({ status: 403 });
    const whoami = await server.request('/v1/keygate/whoami', { key });
    expect(await whoami.json()).toMatchObject({ project_id: id, environment: 'staging' });
    const keys = await server.admin('GET', `/v1/keygate/projects/${id}/api_keys`);
    expect(keys.body['data']).toMatchObject([{ environment: 'staging' }]);
    expect((await server.admin('GET', `/v1/keygate/projects/${id}`)).body['environment']).toBe('staging');
    for (const body of [{}, { environment: 'moon' }, { environment: 'staging', extra: 1 }])
      expect((await server.admin('POST', `/v1/keygate/projects/${id}`, body)).status).toBe(400);
  });
});

describe('the configuration', () => {
  const load = (text: string, env: Record<string, string> = {}) =>
    loadConfig({
      env: { LIVE_KEY: 'a-credential', TRIAL_KEY: 'b-credential', ...env },
      readFile: () => text,
      cwd: '/',
      hostname: 'box',
    });

  it('shows who is served by what', () => {
    const { providers, models } = described(load(yaml('http://localhost:1/v1', 'http://localhost:2/v1')));
    expect(providers.map(({ name, environments }) => [name, environments])).toEqual([
      ['live', ['production']],
      ['trial', null],
    ]);
    expect(models.map(({ name, environments }) => [name, environments])).toEqual([
      ['smart', null],
      ['careful', ['staging', 'production']],
    ]);
  });

  it('is warned of when one credential serves both development and production', () => {
    const text = yaml('http://localhost:1/v1', 'http://localhost:2/v1');
    const said = ({ notices }: ReturnType<typeof load>) =>
      notices.filter((notice) => notice.includes('credential'));
    expect(
      said(load(text.replace('models: [gpt-trial]', 'models: [gpt-trial], environments: [development]'))),
    ).toEqual([]);
    expect(said(load(text))).toEqual([expect.stringContaining('of provider trial, serves both')]);
    expect(said(load(text, { TRIAL_KEY: 'a-credential' }))).toEqual([
      expect.stringContaining('of providers live and trial, serves both'),
    ]);
    const unrestricted = text.replace(', environments: [production]', '').replace(/ {2}careful.*/, '');
    expect(said(load(unrestricted))).toEqual([]);
  });

  it.each([
    ['environments: [moon]', 'environments'],
    ['environments: []', 'at least one'],
    ['environments: production', 'a list of environments'],
    ['environments: [staging, staging]', 'twice'],
  ])('refuses %s', (wrong, why) => {
    const text = yaml('http://localhost:1/v1', 'http://localhost:2/v1');
    expect(() => load(text.replace('environments: [production]', wrong))).toThrow(why);
    expect(() => load(text.replace('environments: [staging, production]', wrong))).toThrow(why);
  });
});
