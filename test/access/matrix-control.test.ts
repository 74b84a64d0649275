// The matrix of the control plane: every operation that the server serves, with every kind of key, role and scope,
// against the plain model of the table. Requests name objects that are not there and have empty bodies, so that what is
// allowed changes nothing: allowed is whatever is neither 401, 403 nor a project that is not to be seen.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { RULES } from '../../src/access/permissions.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';
import { type Answer, type Caller, onControlPlane } from './matrix.ts';
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

/** Sent with a key only where that is the one proof: some routes have proofs of their own in the body. */
async function ask(caller: Caller, operation: string, projectId: string): Promise<Answer> {
  const [method = '', template = ''] = operation.split(' ');
  const path = template.replace('{project_id}', projectId).replace(/\{[a-z_]+\}/g, 'none_0000000000');
  const reply = await fetch(server.adminUrl + path, {
    method,
    headers: {
      ...(caller.key !== null && { authorization: `Bearer ${caller.key}` }),
      ...(method === 'POST' && { 'content-type': 'application/json' }),
    },
    ...(method === 'POST' && { body: '{}' }),
  });
  if (reply.ok) {
    // Not every answer is JSON, nor short.
    await reply.body?.cancel();
    return 'open';
  }
  const { error } = (await reply.json()) as { error?: { message: string } };
  if (reply.status >= 500) throw new Error(`${operation}: ${reply.status} ${error?.message}`);
  if (reply.status === 401) return 'unknown';
  if (reply.status === 403) return 'refused';
  return reply.status === 404 && /^The project /.test(error?.message ?? '') ? 'unseen' : 'open';
}

async function differences(callers: readonly Caller[], operations: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const caller of callers) {
    for (const operation of operations) {
      const answer = await ask(caller, operation, cast.projectId);
      const expected = onControlPlane(caller, operation);
      if (answer !== expected) found.push(`${caller.name}: ${operation}: ${answer}, and not ${expected}`);
    }
  }
  return found;
}

/** One operation of each rule, with and without a project in its path. */
function oneOfEachRule(): string[] {
  const seen = new Map<string, string>();
  for (const [operation, rule] of Object.entries(RULES)) {
    const key = `${JSON.stringify(rule)} ${operation.includes('{project_id}')}`;
    if (!seen.has(key)) seen.set(key, operation);
  }
  return [...seen.values()];
}

describe('the control plane', () => {
  it('answers every role and kind of key for every operation as the table says', async () => {
    const callers = await cast.people();
    expect(callers.length).toBeGreaterThan(20);
    expect(await differences(callers, Object.keys(RULES))).toEqual([]);
  }, 120_000);

  it('answers an admin key with each single scope for each rule as the table says', async () => {
    const callers = await cast.narrowed('admin');
    expect(callers.length).toBeGreaterThan(50);
    expect(await differences(callers, oneOfEachRule())).toEqual([]);
  }, 120_000);

  it('does not tell a project that the caller has no access to from one that is not there', async () => {
    const [, reader] = await cast.people().catch(() => []);
    const key = reader?.key ?? (await cast.adminKey(await cast.user('reader')));
    for (const operation of Object.keys(RULES).filter((name) => name.includes('{project_id}'))) {
      const [method = '', template = ''] = operation.split(' ');
      const replies: string[] = [];
      for (const id of [cast.projectId, 'proj_000000000000000000000000']) {
        const path = template.replace('{project_id}', id).replace(/\{[a-z_]+\}/g, 'none_0');
        const reply = await fetch(server.adminUrl + path, {
          method,
          headers: { authorization: `Bearer ${key}` },
        });
        replies.push(`${reply.status} ${(await reply.text()).replaceAll(id, 'ID')}`);
      }
      expect(replies[0], operation).toBe(replies[1]);
      expect(replies[0], operation).toMatch(/^404 /);
    }
  });
});
