// What a project may ask for, set by the official client's administration and met by the official client on the road of
// a whole server.

import OpenAI from 'openai';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { chatReply, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

let upstream: Upstream;
let server: TestServer;
let admin: OpenAI['admin']['organization']['projects'];

const MODELS = `
models:
  fast: mock/gpt-real
  searching: mock/gpt-4o-search-preview
  mixed:
    - {provider: mock, model: gpt-real, priority: 1}
    - {provider: mock, model: gpt-spare, priority: 2}
`;

beforeAll(async () => {
  upstream = await startUpstream();
  server = await startTestServer({
    yaml: oneProvider(upstream.url, MODELS),
    env: { KEYGATE_CONFIG: 'keygate.yaml' },
  });
  admin = new OpenAI({
    baseURL: `${server.adminUrl}/v1`,
    adminAPIKey: server.adminKey,
    apiKey: null,
    maxRetries: 0,
  }).admin.organization.projects;
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
  await upstream?.close();
});

beforeEach(() => {
  upstream.answer = chatReply();
  upstream.asked.length = 0;
});

/** A project of its own with a key, so that one test's settings are no other's. */
async function project(): Promise<{ id: string; client: OpenAI }> {
  const { id } = await admin.create({ name: 'controlled' });
  const made = await server.admin('POST', `/v1/keygate/projects/${id}/api_keys`, { name: 'key' });
  const client = new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: String(made.body['value']),
    maxRetries: 0,
  });
  return { id, client };
}

const messages = [{ role: 'user' as const, content: 'hi' }];
const chat = (client: OpenAI, model: string, extra: object = {}) =>
  client.chat.completions.create({ model, messages, ...extra });

function sent(): Record<string, unknown> {
  return upstream.asked.at(-1)?.json() ?? {};
}

/** The refusal of a call, which must not have reached a provider. */
async function refusal(call: Promise<unknown>): Promise<InstanceType<typeof OpenAI.APIError>> {
  const before = upstream.asked.length;
  const error = await call.then(
    () => {
      throw new Error('The call was not refused.');
    },
    (error: unknown) => error,
  );
  if (!(error instanceof OpenAI.APIError)) throw error;
  expect(upstream.asked.length).toBe(before);
  return error;
}

describe('the models of a project', () => {
  it('are all of them until somebody says otherwise', async () => {
    const { id, client } = await project();
    expect(await admin.modelPermissions.retrieve(id)).toEqual({
      object: 'project.model_permissions',
      mode: 'deny_list',
      model_ids: [],
    });
    await chat(client, 'anything');
  });

  it('are those of the allow list, by the names that callers use', async () => {
    const { id, client } = await project();
    const set = await admin.modelPermissions.update(id, { mode: 'allow_list', model_ids: ['fast'] });
    expect(set).toEqual({ object: 'project.model_permissions', mode: 'allow_list', model_ids: ['fast'] });
    expect(await admin.modelPermissions.retrieve(id)).toEqual(set);

    await chat(client, 'fast');
    expect(sent()['model']).toBe('gpt-real');
    for (const model of ['gpt-real', 'mixed', 'sandbox-small', 'nowhere']) {
      const error = await refusal(chat(client, model));
      expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError);
      expect(error.error).toEqual({
        message: `Project \`${id}\` does not have access to model \`${model}\``,
        type: 'invalid_request_error',
        param: null,
        code: 'model_not_found',
      });
    }
    const listed: string[] = [];
    for await (const model of client.models.list()) listed.push(model.id);
    expect(listed).toEqual(['fast']);
    expect((await client.models.retrieve('fast')).id).toBe('fast');
    expect((await refusal(client.models.retrieve('mixed'))).status).toBe(403);
  });

  it('exclude those of the deny list under every name: an alias, a fall-back, other case, a tag', async () => {
    const { id, client } = await project();
    await admin.modelPermissions.update(id, { mode: 'deny_list', model_ids: ['gpt-real', 'sandbox-small'] });
    for (const model of [
      'gpt-real',
      'GPT-Real',
      'gpt-real:latest',
      'fast',
      'sandbox-small',
      'sandbox-small:429',
    ])
      expect((await refusal(chat(client, model))).status).toBe(403);
    await chat(client, 'mixed');
    expect(sent()['model']).toBe('gpt-spare');
    const listed: string[] = [];
    for await (const model of client.models.list()) listed.push(model.id);
    expect(listed).toContain('mixed');
    expect(listed).not.toContain('fast');
    expect(listed).not.toContain('sandbox-small');

    // Nor does the fall-back of another target reach it.
    upstream.answer = (_asked, response) => sendJson(response, 500, { error: { message: 'down' } });
    await chat(client, 'mixed').catch(() => {});
    expect(upstream.asked.map((asked) => asked.json()['model'])).not.toContain('gpt-real');
  });

  it('hold for a model that a tool names', async () => {
    const { id, client } = await project();
    await admin.modelPermissions.update(id, { mode: 'deny_list', model_ids: ['gpt-image-9'] });
    const tools = [{ type: 'image_generation' as const, model: 'gpt-image-9' }];
    const error = await refusal(client.responses.create({ model: 'm', input: 'draw', tools }));
    expect(error.message).toContain('gpt-image-9');
  });

  it('are all of them again when the list is deleted', async () => {
    const { id, client } = await project();
    await admin.modelPermissions.update(id, { mode: 'allow_list', model_ids: [] });
    expect((await refusal(chat(client, 'm'))).status).toBe(403);
    expect(await admin.modelPermissions.delete(id)).toEqual({
      object: 'project.model_permissions.deleted',
      deleted: true,
    });
    await chat(client, 'm');
  });

  it('are named by 1,000 texts at most, each once', async () => {
    const { id } = await project();
    for (const body of [
      { mode: 'allow_list', model_ids: ['a', 'a'] },
      { mode: 'allow_list', model_ids: [''] },
      { mode: 'allow_list', model_ids: [5] },
      { mode: 'allow_list' },
      { mode: 'some_list', model_ids: [] },
      { mode: 'allow_list', model_ids: Array.from({ length: 1001 }, (_, n) => `m${n}`) },
      { mode: 'allow_list', model_ids: [], extra: 1 },
    ]) {
      const path = `/v1/organization/projects/${id}/model_permissions`;
      const { status, body: reply } = await server.admin('POST', path, body);
      expect(status).toBe(400);
      expect(Object(reply['error']).param).toMatch(/^(mode|model_ids|extra)/);
    }
  });
});

describe('the hosted tools of a project', () => {
  const responses = (client: OpenAI, extra: object) =>
    client.responses.create({
      model: 'm',
      input: 'hi',
      ...extra,
    } as OpenAI.Responses.ResponseCreateParamsNonStreaming);
  const TOOLS = {
    code_interpreter: { type: 'code_interpreter', container: { type: 'auto' } },
    file_search: { type: 'file_search', vector_store_ids: [] },
    image_generation: { type: 'image_generation' },
    mcp: { type: 'mcp', server_label: 'x', server_url: 'https://example.com' },
    web_search: { type: 'web_search' },
  } as const;

  beforeEach(() => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, { id: 'resp_1', object: 'response', output: [] });
  });

  it.each(Object.entries(TOOLS))(
    'leave %s out when it is not enabled, and nothing else',
    async (name, tool) => {
      const { id, client } = await project();
      const set = await admin.hostedToolPermissions.update(id, { [name]: { enabled: false } });
      expect(set).toEqual({
        ...Object.fromEntries(Object.keys(TOOLS).map((other) => [other, { enabled: other !== name }])),
      });
      expect(await admin.hostedToolPermissions.retrieve(id)).toEqual(set);
      const error = await refusal(responses(client, { tools: [{ type: 'function', name: 'f' }, tool] }));
      expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError);
      expect(error.param).toBe('tools');
      expect(error.message).toContain(`does not have access to the hosted tool \`${name}\``);
      for (const [other, allowed] of Object.entries(TOOLS)) {
        if (other === name) continue;
        await responses(client, { tools: [allowed] });
        expect(sent()['tools']).toEqual([allowed]);
      }
      await admin.hostedToolPermissions.update(id, { [name]: { enabled: true } });
      await responses(client, { tools: [tool] });
    },
  );

  it('are found wherever a request can name them', async () => {
    const { id, client } = await project();
    await admin.hostedToolPermissions.update(id, {
      web_search: { enabled: false },
      code_interpreter: { enabled: false },
      mcp: null,
    });
    const own = { type: 'function', name: 'f', parameters: {} };
    for (const extra of [
      { tools: [{ type: 'web_search_preview' }] },
      { tools: [{ type: 'web_search_2025_08_26' }] },
      { tools: [own, { type: 'namespace', name: 'n', tools: [{ type: 'web_search' }] }] },
      { tools: [{ type: 'shell', environment: { type: 'container_auto' } }] },
      { tools: [{ type: 'browse_everything' }] },
      { tool_choice: { type: 'web_search_preview' } },
      { tool_choice: { type: 'allowed_tools', mode: 'auto', tools: [{ type: 'web_search' }] } },
      { input: [{ type: 'additional_tools', tools: [{ type: 'web_search' }] }] },
      { input: [{ type: 'tool_search_output', tools: [own, { type: 'web_search' }] }] },
      { prompt: { id: 'pmpt_1' } },
    ]) {
      expect((await refusal(responses(client, extra))).status, JSON.stringify(extra)).toBe(403);
    }
    expect((await refusal(chat(client, 'm', { web_search_options: {} }))).status).toBe(403);
    expect((await refusal(chat(client, 'm', { search_parameters: { mode: 'auto' } }))).status).toBe(403);
    for (const model of ['gpt-4o-search-preview', 'searching'])
      expect((await refusal(chat(client, model))).status).toBe(403);
    await responses(client, { tools: [own, { type: 'shell', environment: { type: 'local' } }, TOOLS.mcp] });
    await responses(client, { tools: [own], tool_choice: 'required' });
    await chat(client, 'm', { tools: [{ type: 'function', function: { name: 'f' } }] });
  });

  it('are not let in by a body that two parsers read differently', async () => {
    const { id } = await project();
    await admin.hostedToolPermissions.update(id, { web_search: { enabled: false } });
    const made = await server.admin('POST', `/v1/keygate/projects/${id}/api_keys`, { name: 'key' });
    const post = (body: string) =>
      server.request('/v1/responses', { method: 'POST', body, key: String(made.body['value']) });
    const twice = await post('{"model":"m","input":"x","tools":[{"type":"web_search"}],"tools":[]}');
    expect(twice.status).toBe(400);
    const escaped = await post('{"model":"m","input":"x","to\\u006fls":[{"type":"web_search"}]}');
    expect(escaped.status).toBe(400);
    expect(upstream.asked).toHaveLength(0);
    // Inside a tool the last of two is what was understood, and only that is sent.
    await post('{"model":"m","input":"x","tools":[{"type":"web_search","type":"function","name":"f"}]}');
    expect(upstream.asked[0]?.body.toString()).toBe(
      '{"model":"m","input":"x","tools":[{"type":"function","name":"f"}]}',
    );
  });
});

describe('the service tiers of a project', () => {
  it('are all of them, passed on as they come, until somebody says otherwise', async () => {
    const { id, client } = await project();
    expect(await admin.serviceTierSettings.retrieve(id)).toEqual({
      object: 'project.service_tier_settings',
      default: 'standard',
      enabled_tiers: 'all',
    });
    await chat(client, 'm');
    expect(sent()).not.toHaveProperty('service_tier');
    await chat(client, 'm', { service_tier: 'flex' });
    expect(sent()['service_tier']).toBe('flex');
  });

  it('are refused in the platform’s words when they are not enabled', async () => {
    const { id, client } = await project();
    const set = await admin.serviceTierSettings.update(id, { enabled_tiers: ['flex'] });
    expect(set).toEqual({
      object: 'project.service_tier_settings',
      default: 'standard',
      enabled_tiers: ['flex'],
    });
    for (const service_tier of ['priority', 'fast', 'scale', 'ultrafast', 'whatever']) {
      const error = await refusal(chat(client, 'm', { service_tier }));
      expect(error.status).toBe(400);
      expect(error.error).toEqual({
        message: 'Invalid service_tier argument: The requested service tier is not allowed for this project.',
        type: 'invalid_request_error',
        param: 'service_tier',
        code: null,
      });
    }
    expect((await refusal(chat(client, 'm', { service_tier: 5 }))).param).toBe('service_tier');
    await chat(client, 'm', { service_tier: 'flex' });
    await chat(client, 'm', { service_tier: 'default' });
    await admin.serviceTierSettings.update(id, { enabled_tiers: ['fast'] });
    await chat(client, 'm', { service_tier: 'priority' });
    await chat(client, 'm', { service_tier: 'fast' });
  });

  it('have a default that is sent, and reckoned with, for a call that names none or says auto', async () => {
    const { id, client } = await project();
    await admin.serviceTierSettings.update(id, { default: 'fast' });
    await chat(client, 'm');
    expect(sent()['service_tier']).toBe('priority');
    await chat(client, 'm', { service_tier: 'auto', stream: false });
    expect(sent()['service_tier']).toBe('priority');
    await chat(client, 'fast');
    expect(sent()).toMatchObject({ model: 'gpt-real', service_tier: 'priority' });
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end('data: [DONE]\n\n');
    };
    for await (const _ of await client.chat.completions.create({ model: 'fast', messages, stream: true }));
    expect(sent()).toMatchObject({
      model: 'gpt-real',
      service_tier: 'priority',
      stream_options: { include_usage: true },
    });
    upstream.answer = chatReply();
    await admin.serviceTierSettings.update(id, { default: 'standard' });
    await chat(client, 'm');
    expect(sent()['service_tier']).toBe('default');
    await client.embeddings.create({ model: 'e', input: 'x', encoding_format: 'float' }).catch(() => {});
    expect(sent()).not.toHaveProperty('service_tier');
  });

  it('cannot have a default that is not enabled, nor be set to nothing', async () => {
    const { id } = await project();
    await expect(
      admin.serviceTierSettings.update(id, { default: 'fast', enabled_tiers: [] }),
    ).rejects.toMatchObject({
      status: 400,
      param: 'default',
    });
    await expect(admin.serviceTierSettings.update(id, {})).rejects.toMatchObject({ status: 400 });
    await admin.serviceTierSettings.update(id, { default: 'fast' });
    await expect(admin.serviceTierSettings.update(id, { enabled_tiers: [] })).rejects.toMatchObject({
      status: 400,
      param: 'enabled_tiers',
    });
  });
});

describe('an archived project', () => {
  it('is refused on the road at once, and what was set for it can be read and not changed', async () => {
    const { id, client } = await project();
    await admin.modelPermissions.update(id, { mode: 'allow_list', model_ids: ['m'] });
    await chat(client, 'm');
    await admin.archive(id);
    expect((await refusal(chat(client, 'm'))).status).toBe(401);
    expect((await admin.modelPermissions.retrieve(id)).model_ids).toEqual(['m']);
    for (const change of [
      () => admin.modelPermissions.update(id, { mode: 'deny_list', model_ids: [] }),
      () => admin.modelPermissions.delete(id),
      () => admin.hostedToolPermissions.update(id, { mcp: { enabled: false } }),
      () => admin.serviceTierSettings.update(id, { default: 'standard' }),
      () => admin.dataRetention.update(id, { retention_type: 'none' }),
      () => admin.update(id, { name: 'new' }),
      () => admin.serviceAccounts.create(id, { name: 'bot' }),
      () => admin.spendLimit.update(id, { currency: 'USD', interval: 'month', threshold_amount: 100 }),
      () => admin.rateLimits.updateRateLimit('rl-m', { project_id: id, max_requests_per_1_minute: 1 }),
    ]) {
      await expect(change()).rejects.toMatchObject({ status: 400, param: 'project_id' });
    }
    const ours = `/v1/keygate/projects/${id}`;
    for (const [path, body] of [
      [ours, { environment: 'staging' }],
      [`${ours}/api_keys`, { name: 'key' }],
      [`${ours}/ip_allowlists`, { name: 'list', allowed_ips: ['10.0.0.1'] }],
    ] as const) {
      const { status, body: reply } = await server.admin('POST', path, body);
      expect({ path, status, param: Object(reply['error']).param }).toEqual({
        path,
        status: 400,
        param: 'project_id',
      });
    }
  });
});

describe('a rate limit that is lowered', () => {
  it('holds for the next call', async () => {
    const { id, client } = await project();
    const [limit] = (await admin.rateLimits.listRateLimits(id)).data;
    if (limit === undefined) throw new Error('The project has no rate limits.');
    for (let n = 0; n < 3; n++) await chat(client, limit.model);
    await admin.rateLimits.updateRateLimit(limit.id, { project_id: id, max_requests_per_1_minute: 1 });
    await Promise.allSettled([chat(client, limit.model), chat(client, limit.model)]);
    const error = await refusal(chat(client, limit.model));
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
  });
});
