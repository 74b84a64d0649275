// The table of permissions: every route that the server has is in it, and it has no row for a route that is not.

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  covers,
  isGrantable,
  levelOf,
  PERMISSIONS,
  PREDEFINED_ROLES,
  rightsOf,
  scopeRights,
} from '../../src/access/permission-names.ts';
import { operationOf, RULES, refusalBy } from '../../src/access/permissions.ts';
import { startTestServer, type TestServer } from '../harness/server.ts';

describe('the table of operations', () => {
  let server: TestServer;
  beforeAll(async () => {
    server = await startTestServer();
  });
  afterAll(async () => {
    await server?.stop();
    server?.remove();
  });

  it('has a row for every route that the server serves, and only for those', async () => {
    const reply = await fetch(`${server.adminUrl}/v1/keygate/openapi.json`);
    const { paths } = (await reply.json()) as { paths: Record<string, Record<string, unknown>> };
    const served = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect(served.length).toBeGreaterThan(70);
    const missing = served.filter((operation) => RULES[operation] === undefined);
    expect(missing, 'add a row for each to src/access/permissions.ts').toEqual([]);
    const stale = Object.keys(RULES).filter((operation) => !served.includes(operation));
    expect(stale, 'rows of src/access/permissions.ts without a route').toEqual([]);
  });
});

describe('what has no row', () => {
  it('is denied to everybody', () => {
    const all = { organization: scopeRights([]), within: () => scopeRights([]) };
    expect(refusalBy('POST /v1/keygate/made_up', all, undefined)?.status).toBe(403);
    expect(refusalBy('GET /v1/organization/projects', all, undefined)).toBeNull();
  });
});

describe('names of permissions', () => {
  it('write includes read, and nothing else is included', () => {
    expect([...rightsOf(['api.files.write'])]).toEqual(['api.files.read', 'api.files.write']);
    expect([...rightsOf(['api.files.read'])]).toEqual(['api.files.read']);
    expect(covers('api.organization.projects.write', 'api.organization.projects.api_keys.write')).toBe(false);
  });

  it('api.all.read is every read, and an empty list of scopes is everything', () => {
    const reads = PERMISSIONS.filter((name) => name.endsWith('.read'));
    expect([...scopeRights(['api.all.read'])]).toEqual(reads);
    expect([...scopeRights([])]).toEqual(PERMISSIONS);
    expect([...rightsOf([])]).toEqual([]);
  });

  it('api.model.request is every kind of model request', () => {
    const rights = rightsOf(['api.model.request']);
    expect(rights.has('api.model.images.request')).toBe(true);
    expect(rights.has('api.model.embeddings.request')).toBe(true);
    expect(rights.has('api.model.read')).toBe(false);
    expect(rightsOf(['api.model.images.request']).has('api.model.audio.request')).toBe(false);
  });

  it('the names that the platform writes otherwise are taken, and invented ones are not', () => {
    expect(rightsOf(['model.request']).has('api.model.audio.request')).toBe(true);
    expect(rightsOf(['api.vector_store.read']).has('api.vector_stores.read')).toBe(true);
    expect(isGrantable('api.all.read')).toBe(true);
    expect(isGrantable('api.all.write')).toBe(false);
    expect(isGrantable('api.made.up')).toBe(false);
    expect(isGrantable('constructor')).toBe(false);
  });

  it('a predefined role of a project holds nothing of the organization', () => {
    for (const role of Object.values(PREDEFINED_ROLES)) {
      if (role.level === 'organization') continue;
      for (const name of role.permissions) expect(levelOf(name)).toBe('project');
    }
  });
});

it('operations are named as the published description has them', () => {
  expect(operationOf('GET', '/v1/projects/:project_id/users/:user_id/roles')).toBe(
    'GET /v1/projects/{project_id}/users/{user_id}/roles',
  );
});
