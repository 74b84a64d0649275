// The matrix of the road: every operation of the data plane with every role, kind of key and scope, against the plain
// model. Bodies are too short to be answered, so nothing is generated: allowed is whatever is neither 401 nor a 403 for
// a scope. An operation that is not served is refused to everybody whose key works, whatever its rights.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { OPERATIONS, type Operation } from '../../src/gateway/operations.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { type Answer, type Caller, onRoad } from './matrix.ts';
import { Cast } from './matrix-callers.ts';

let server: TestServer;
let cast: Cast;
beforeAll(async () => {
  server = await startTestServer();
  cast = new Cast(server);
});
afterAll(async () => {
  await server?.stop();
  server?.remove();
});

async function ask(caller: Caller, operation: Operation): Promise<Answer | 'not served'> {
  const body = bodyOf(operation);
  const reply = await fetch(`${server.url}/v1${operation.path.replaceAll('{}', 'none_0000000000')}`, {
    method: operation.method,
    headers: {
      ...(caller.key !== null && { authorization: `Bearer ${caller.key}` }),
      ...(typeof body === 'string' && { 'content-type': 'application/json' }),
    },
    ...(body !== null && { body }),
  });
  const text = await reply.text();
  if (reply.status >= 500) throw new Error(`${operation.name}: ${reply.status} ${text}`);
  if (reply.status === 401) return 'unknown';
  if (text.includes('operation_not_served')) return 'not served';
  return reply.status === 403 && text.includes('Missing scopes') ? 'refused' : 'open';
}

function bodyOf(operation: Operation): string | FormData | null {
  if (operation.method === 'GET' || operation.method === 'DELETE') return null;
  if (operation.body !== 'multipart') return JSON.stringify({ model: 'sandbox-small' });
  const form = new FormData();
  form.set('model', 'sandbox-small');
  return form;
}

async function differences(callers: readonly Caller[], operations: readonly Operation[]): Promise<string[]> {
  const found: string[] = [];
  for (const caller of callers) {
    for (const operation of operations) {
      const answer = await ask(caller, operation);
      const byRights = onRoad(caller, operation.scope);
      const expected =
        operation.served === 'no' && byRights !== 'unknown' && caller.kind !== 'admin'
          ? 'not served'
          : byRights;
      if (answer !== expected)
        found.push(`${caller.name}: ${operation.name}: ${answer}, and not ${expected}`);
    }
  }
  return found;
}

describe('the road', () => {
  it('answers every role and kind of key for every operation as its rights say', async () => {
    const callers = await cast.people();
    expect(await differences(callers, OPERATIONS)).toEqual([]);
  }, 120_000);

  it('answers a key with each single scope for each permission as its scope says', async () => {
    const operations = new Map(
      OPERATIONS.filter(({ served }) => served !== 'no').map((one) => [one.scope, one]),
    );
    const callers = await cast.narrowed('project');
    expect(callers.length).toBeGreaterThan(30);
    expect(await differences(callers, [...operations.values()])).toEqual([]);
  }, 120_000);
});
