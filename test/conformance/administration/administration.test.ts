// Every method under `client.admin` of the pinned official client, against a whole server. Which methods there are is
// read from the client itself, so one that a newer client brings fails here until it is served. Every reply, on the
// wire, is held to the schema of the client's own declarations and, where this machine has the published description,
// to that too.

import { Ajv } from 'ajv';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { type DeclaredMethod, declaredMethods } from './declared.ts';
import * as identity from './identity.ts';
import * as money from './money.ts';
import * as organization from './organization.ts';
import * as projects from './projects.ts';
import { isPublishedHere, readPublished } from './published.ts';
import { type Exchange, methodsOf, type Recorder, record } from './recorder.ts';
import type { Scenario } from './scenario.ts';

let server: TestServer;
let recorder: Recorder;
let scenario: Scenario;
let declared: Map<string, DeclaredMethod>;

beforeAll(async () => {
  declared = declaredMethods();
  server = await startTestServer();
  recorder = record(server);
  scenario = { organization: recorder.admin.organization, server, memberId: await addMember() };
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
});

async function addMember(): Promise<string> {
  const added = await server.admin('POST', '/v1/keygate/users', {
    email: 'member@example.com',
    name: 'Member',
  });
  return String(added.body['id']);
}

/** Replies that succeeded, which are the ones that the declarations speak of. */
function answered(): Exchange[] {
  return recorder.exchanges.filter(({ status }) => status < 300);
}

describe('the official client administers', () => {
  const scenarios = { ...organization, ...projects, ...money, ...identity };
  for (const [name, play] of Object.entries(scenarios)) it(name, () => play(scenario));

  it('users, to their leaving', async () => {
    const { users } = scenario.organization;
    expect(await users.delete(scenario.memberId)).toMatchObject({ id: scenario.memberId, deleted: true });
  });
});

describe('of the Administration API', () => {
  it('the declarations name the methods that the client has', () => {
    expect([...declared.keys()].sort()).toEqual(methodsOf(recorder.admin).sort());
    expect(declared.size).toBeGreaterThanOrEqual(143);
  });

  it('every method was called, and answered', () => {
    const called = recorder.called();
    expect([...declared.keys()].filter((name) => !called.has(name))).toEqual([]);
  });

  it('every reply is what the client’s own declarations say', () => {
    const ajv = new Ajv({ strict: false, allErrors: true });
    const wrong: string[] = [];
    const validators = new Map([...declared].map(([name, { reply }]) => [name, ajv.compile(reply)]));
    for (const { method, body } of answered()) {
      const validate = validators.get(method);
      if (validate === undefined || validate(body)) continue;
      const [first] = validate.errors ?? [];
      wrong.push(`${method}: ${first?.instancePath} ${first?.message} ${JSON.stringify(first?.params)}`);
    }
    expect([...new Set(wrong)]).toEqual([]);
  });

  it.runIf(isPublishedHere)('every reply is what the published description says', () => {
    const check = readPublished();
    const wrong = new Set<string>();
    let checked = 0;
    for (const { method, verb, path, body } of answered()) {
      const problem = check(verb, path, body);
      if (problem === undefined) continue;
      checked += 1;
      if (problem !== null) wrong.add(`${method}: ${problem}`);
    }
    expect([...wrong]).toEqual([]);
    expect(checked).toBeGreaterThan(100);
  });
});
