// Two servers on one PostgreSQL: what one does, the other knows.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock } from '../../src/platform/clock.ts';
import { readSegment } from '../../src/spend/segment/read.ts';
import { openStore } from '../../src/store/open.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { chatReply, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { freshPostgres, type StorePlace } from '../store/stores.ts';

let place: StorePlace;
let upstream: Upstream;
let first: TestServer;
let second: TestServer;

beforeAll(async () => {
  place = await freshPostgres();
  upstream = await startUpstream();
  const env = { KEYGATE_DATABASE_URL: place.databaseUrl?.reveal() ?? '', KEYGATE_CONFIG: 'keygate.yaml' };
  const yaml = oneProvider(upstream.url);
  first = await startTestServer({ yaml, env: { ...env, KEYGATE_NODE: 'first' } });
  second = await startTestServer({ yaml, env: { ...env, KEYGATE_NODE: 'second' } });
});

afterAll(async () => {
  await first?.stop();
  await second?.stop();
  first?.remove();
  second?.remove();
  await upstream?.close();
  await place?.remove();
});

const CHAT = {
  method: 'POST',
  body: JSON.stringify({ model: 'm', messages: [{ role: 'user', content: 'hi' }] }),
};

/** Milliseconds until the second server answers with this status to this key; it is asked without a pause. */
async function untilSecondAnswers(status: number, key: string): Promise<number> {
  const began = performance.now();
  for (;;) {
    const reply = await second.request('/v1/models', { key });
    await reply.arrayBuffer();
    const waited = performance.now() - began;
    if (reply.status === status) return waited;
    if (waited > 10_000) throw new Error(`after 10 s the second server still answers ${reply.status}`);
  }
}

describe('two servers on one PostgreSQL', () => {
  it('set one organization up, once', async () => {
    expect(first.projectKey).not.toBe('');
    expect(second.projectKey).toBe('');
    expect((await second.request('/v1/models', { key: first.projectKey })).status).toBe(200);
  });

  it('know a key of the other’s, and its end, within a second', async () => {
    const key = await first.createKey({ name: 'shared' });
    expect(await untilSecondAnswers(200, key.value)).toBeLessThan(1_000);
    await first.admin('DELETE', `/v1/organization/projects/${first.projectId}/api_keys/${key.id}`);
    expect((await first.request('/v1/models', { key: key.value })).status).toBe(401);
    expect(await untilSecondAnswers(401, key.value)).toBeLessThan(1_000);
  });

  it('know of a stored response that the other passed on', async () => {
    upstream.answer = (_asked, response) =>
      sendJson(response, 200, { id: 'resp_1', object: 'response', output: [] });
    const create = (server: TestServer, extra: object) =>
      server.request('/v1/responses', {
        method: 'POST',
        body: JSON.stringify({ model: 'm', input: 'x', ...extra }),
        key: first.projectKey,
      });
    await create(first, {});
    // Whose it is, is written a moment after the reply.
    let status = 0;
    for (let tries = 0; tries < 200 && status !== 200; tries++) {
      status = (await create(second, { previous_response_id: 'resp_1' })).status;
    }
    expect(status).toBe(200);
    upstream.answer = chatReply();
  });

  it('record every call of both in one store, each under its own name', async () => {
    for (let i = 0; i < 5; i++) {
      await first.request('/v1/chat/completions', CHAT);
      await second.request('/v1/chat/completions', { ...CHAT, key: first.projectKey });
    }
    await first.stop();
    await second.stop();
    const store = await openStore({
      dataDir: place.dataDir,
      databaseUrl: place.databaseUrl,
      clock: systemClock,
      onError: () => {},
    });
    const segments = await store.db.selectFrom('usage_segments').selectAll().execute();
    await store.close();
    const chats = (node: string) =>
      segments
        .filter((one) => one.node === node)
        .flatMap(readSegment)
        .filter((event) => event.operation === 'chat.completions.create');
    expect(chats('first').length).toBe(5);
    expect(chats('second').length).toBe(5);
  });
});
