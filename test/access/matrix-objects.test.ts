// Every object of one project is 404 to every other project: over every route of the control plane that names a project
// and something in it, with real objects of another project, for an owner of the organization, who may see both.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { RULES } from '../../src/access/permissions.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let theirs: string;
beforeAll(async () => {
  server = await startTestServer();
  const made = await server.admin('POST', '/v1/organization/projects', { name: 'Theirs' });
  theirs = String(made.body['id']);
});
afterAll(async () => {
  await server?.stop();
  server?.remove();
});

async function made(path: string, body: object): Promise<string> {
  const reply = await server.admin('POST', path, body);
  if (reply.status !== 200) throw new Error(`POST ${path}: ${JSON.stringify(reply.body)}`);
  return String(reply.body['id']);
}

/** Objects of the other project, by the names that paths have for them. */
async function objects(): Promise<Map<string, string>> {
  const project = `/v1/organization/projects/${theirs}`;
  const account = await made(`${project}/service_accounts`, { name: 'bot' });
  const user = await made('/v1/keygate/users', { email: 'theirs@example.com' });
  await made(`${project}/users`, { user_id: user, role: 'member' });
  const group = await made('/v1/organization/groups', { name: 'Theirs' });
  await server.admin('POST', `${project}/groups`, { group_id: group, role: 'member' });
  const role = await made(`/v1/projects/${theirs}/roles`, { role_name: 'Theirs', permissions: [] });
  await server.admin('POST', `/v1/projects/${theirs}/users/${user}/roles`, { role_id: role });
  await server.admin('POST', `/v1/projects/${theirs}/groups/${group}/roles`, { role_id: role });
  return new Map([
    ['service_account_id', account],
    ['user_id', user],
    ['group_id', group],
    ['role_id', role],
    ['api_key_id', await made(`/v1/keygate/projects/${theirs}/api_keys`, { name: 'key' })],
    [
      'alert_id',
      await made(`${project}/spend_alerts`, {
        currency: 'USD',
        interval: 'month',
        threshold_amount: 100,
        notification_channel: { type: 'email', recipients: ['a@example.com'] },
      }),
    ],
  ]);
}

/**
 * Whom a role of a project is given to is an object of the organization: here the role itself is the other project's,
 * and so is that the user or group has it.
 */
const OF_THE_ORGANIZATION = /\/(users|groups)\/\{\w+\}\/roles$/;

it('is 404, whatever is asked of it, and stays as it is', async () => {
  const known = await objects();
  const tested: string[] = [];
  for (const operation of Object.keys(RULES)) {
    const [method = '', template = ''] = operation.split(' ');
    const names = [...template.matchAll(/\{([a-z_]+)\}/g)].map(([, name]) => name ?? '');
    if (!names.includes('project_id') || OF_THE_ORGANIZATION.test(template)) continue;
    const others = names.filter((name) => name !== 'project_id');
    if (others.length === 0 || !others.every((name) => known.has(name))) continue;
    const at = (projectId: string) =>
      template.replace(/\{([a-z_]+)\}/g, (_, name: string) =>
        name === 'project_id' ? projectId : (known.get(name) ?? ''),
      );
    const body = method === 'POST' ? { scopes: [], role: 'member', name: 'taken over' } : undefined;
    const only = method === 'POST' ? narrowed(template, body ?? {}) : undefined;
    const reply = await server.admin(method, at(server.projectId), only);
    expect(reply.status, `${operation}: ${JSON.stringify(reply.body)}`).toBe(404);
    if (method === 'GET') expect((await server.admin('GET', at(theirs))).status, operation).toBe(200);
    tested.push(operation);
  }
  expect(tested.length).toBeGreaterThan(25);
  const projectKey = server.projectKey;
  expect((await server.request('/v1/models', { key: projectKey })).status).toBe(200);
});

/** A body that the operation would take if the object were there. */
function narrowed(template: string, all: Record<string, unknown>): unknown {
  const pick = (...names: string[]) => Object.fromEntries(names.map((name) => [name, all[name]]));
  if (/\/api_keys\/\{api_key_id\}$/.test(template)) return pick('scopes');
  if (/\/service_accounts\/\{\w+\}$/.test(template)) return pick('name');
  if (/\/service_accounts\/\{\w+\}\/api_keys$/.test(template)) {
    return template.startsWith('/v1/keygate/') ? { name: 'n', cnf: { jkt: 'A'.repeat(43) } } : pick('name');
  }
  if (/\/users\/\{user_id\}$/.test(template)) return pick('role');
  if (/\/roles\/\{role_id\}$/.test(template)) return { role_name: 'taken over' };
  if (/\/spend_alerts\/\{alert_id\}$/.test(template)) {
    return {
      currency: 'USD',
      interval: 'month',
      threshold_amount: 1,
      notification_channel: { type: 'email', recipients: ['b@example.com'] },
    };
  }
  if (/\/limits$/.test(template)) return { name: 'all', requests_per_minute: 1 };
  return {};
}
