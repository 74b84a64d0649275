import { BadRequestError, NotFoundError } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { callUntilRefused, chat, type Limited, startLimited, tier } from './servers.ts';

describe("the official client manages a project's rate limits", () => {
  let limited: Limited;
  beforeAll(async () => {
    limited = await startLimited(
      `${tier("'*': { requests_per_minute: 60, tokens_per_minute: 100000 }, gpt-4o: { requests_per_minute: 50, requests_per_day: 1000, tokens_per_minute: 90000, images_per_minute: 10, audio_seconds_per_minute: 3600, batch_tokens: 5000 }, 'org/slashed: model': { requests_per_minute: 7 }")}
groups: { small: [gpt-mini, 'gpt-nano*'] }`,
    );
  });
  afterAll(() => limited.close());

  const all = async () => {
    const found = [];
    const { server, admin } = limited;
    for await (const limit of admin.admin.organization.projects.rateLimits.listRateLimits(server.projectId)) {
      found.push(limit);
    }
    return found;
  };

  test('lists every model that the table, its groups or the providers name, with ids that stay', async () => {
    const limits = await all();
    const models = limits.map(({ model }) => model);
    expect(models).toEqual([...models].sort());
    expect(models).toContain('gpt-4o');
    expect(models).toContain('gpt-mini');
    expect(models).toContain('sandbox-small');
    expect(models).not.toContain('small');
    expect(models).not.toContain('*');
    expect(limits.find(({ model }) => model === 'gpt-4o')).toEqual({
      object: 'project.rate_limit',
      id: 'rl-gpt-4o',
      model: 'gpt-4o',
      max_requests_per_1_minute: 50,
      max_tokens_per_1_minute: 90_000,
      max_images_per_1_minute: 10,
      max_audio_megabytes_per_1_minute: 57,
      max_requests_per_1_day: 1000,
      batch_1_day_max_input_tokens: 5000,
    });
    expect(limits.find(({ model }) => model === 'gpt-mini')).toEqual({
      object: 'project.rate_limit',
      id: 'rl-gpt-mini',
      model: 'gpt-mini',
      max_requests_per_1_minute: 60,
      max_tokens_per_1_minute: 100_000,
    });
    expect((await all()).map(({ id }) => id)).toEqual(limits.map(({ id }) => id));
  });

  test('pages forward and back through them, each once', async () => {
    const { rateLimits } = limited.admin.admin.organization.projects;
    const expected = (await all()).map(({ id }) => id);
    const forward = [];
    for await (const limit of rateLimits.listRateLimits(limited.server.projectId, { limit: 3 })) {
      forward.push(limit.id);
    }
    expect(forward).toEqual(expected);
    const page = await rateLimits.listRateLimits(limited.server.projectId, {
      before: expected[5] ?? '',
      limit: 2,
    });
    expect(page.data.map(({ id }) => id)).toEqual(expected.slice(3, 5));
    expect(page).toMatchObject({ has_more: true, last_id: expected[4] });
    const first = await rateLimits.listRateLimits(limited.server.projectId, { before: expected[2] ?? '' });
    expect(first.data.map(({ id }) => id)).toEqual(expected.slice(0, 2));
    expect(first.has_more).toBe(false);
  });

  test('lowers one, keeps the others, and it holds for the very next call', async () => {
    const { server, admin } = limited;
    const { rateLimits } = admin.admin.organization.projects;
    const updated = await rateLimits.updateRateLimit('rl-gpt-4o', {
      project_id: server.projectId,
      max_requests_per_1_minute: 3,
      max_audio_megabytes_per_1_minute: 10,
    });
    expect(updated).toMatchObject({
      id: 'rl-gpt-4o',
      max_requests_per_1_minute: 3,
      max_audio_megabytes_per_1_minute: 10,
      max_tokens_per_1_minute: 90_000,
      max_requests_per_1_day: 1000,
    });
    expect((await all()).find(({ id }) => id === 'rl-gpt-4o')).toEqual(updated);

    const { passed, refusal } = await callUntilRefused(() => chat(server));
    expect(passed).toBe(3);
    expect(refusal.status).toBe(429);
    const { error, headers } = refusal;
    const waitMs = Number(headers.get('retry-after-ms'));
    expect(waitMs).toBeGreaterThan(19_000);
    expect(waitMs).toBeLessThanOrEqual(20_000);
    expect(headers.get('retry-after')).toBe('20');
    expect(headers.get('x-ratelimit-limit-requests')).toBe('3');
    expect(headers.get('x-ratelimit-remaining-requests')).toBe('0');
    expect(headers.get('x-ratelimit-reset-requests')).toMatch(/^(59(\.\d+)?s|1m0s)$/);
    expect(headers.get('x-ratelimit-limit-tokens')).toBe('90000');
    expect(error).toMatchObject({ type: 'requests', code: 'rate_limit_exceeded' });
    expect(error?.message).toMatch(
      new RegExp(
        `^Rate limit reached for gpt-4o in organization ${server.organizationId} \\(project ${server.projectId}\\) on ` +
          'requests per min \\(RPM\\): Limit 3, Used 3, Requested 1\\. Please try again in (19\\.\\d+|20)s\\.$',
      ),
    );
    expect((await chat(server, { model: 'gpt-mini' })).status).toBe(200);
  });

  test('takes names with slashes, colons and spaces', async () => {
    const { server, admin } = limited;
    const updated = await admin.admin.organization.projects.rateLimits.updateRateLimit(
      'rl-org/slashed: model',
      { project_id: server.projectId, max_requests_per_1_minute: 2 },
    );
    expect(updated).toMatchObject({ model: 'org/slashed: model', max_requests_per_1_minute: 2 });
  });

  test('cannot raise one above the organization, and is told which field asked for it', async () => {
    const { server, admin } = limited;
    const { rateLimits } = admin.admin.organization.projects;
    for (const [field, value] of [
      ['max_requests_per_1_minute', 51],
      ['max_requests_per_1_day', 1001],
      ['max_tokens_per_1_minute', 90_001],
      ['max_images_per_1_minute', 11],
      ['max_audio_megabytes_per_1_minute', 58],
      ['batch_1_day_max_input_tokens', 5001],
    ] as const) {
      const refused = rateLimits.updateRateLimit('rl-gpt-4o', {
        project_id: server.projectId,
        [field]: value,
      });
      await expect(refused).rejects.toThrow(BadRequestError);
      await expect(refused).rejects.toMatchObject({ param: field, code: 'invalid_value' });
    }
  });

  test('takes the limit away again with null, which the organization then alone decides', async () => {
    const { server } = limited;
    const path = `/v1/organization/projects/${server.projectId}/rate_limits/rl-gpt-4o`;
    const reply = await server.admin('POST', path, {
      max_requests_per_1_minute: null,
      max_audio_megabytes_per_1_minute: null,
    });
    expect(reply.body).toMatchObject({ max_requests_per_1_minute: 50, max_audio_megabytes_per_1_minute: 57 });
    expect((await chat(server)).status).toBe(200);
  });

  test('finds nothing in projects that are not there or under ids that name no model', async () => {
    const { server, admin } = limited;
    const { rateLimits } = admin.admin.organization.projects;
    const { projectId: project_id } = server;
    await expect(rateLimits.listRateLimits('proj_elsewhere')).rejects.toThrow(NotFoundError);
    for (const [id, project] of [
      ['rl-gpt-4o', 'proj_elsewhere'],
      ['rl-never-heard-of', project_id],
      ['rl-*', project_id],
      ['rl-all', project_id],
      ['rl-small', project_id],
      ['gpt-4o', project_id],
    ] as const) {
      await expect(
        rateLimits.updateRateLimit(id, { project_id: project, max_requests_per_1_minute: 1 }),
      ).rejects.toThrow(NotFoundError);
    }
  });

  test('is told what is wrong with a body', async () => {
    const { server } = limited;
    const path = `/v1/organization/projects/${server.projectId}/rate_limits/rl-gpt-4o`;
    for (const [body, param] of [
      [{}, null],
      [{ max_requests_per_1_minute: -1 }, 'max_requests_per_1_minute'],
      [{ max_requests_per_1_minute: 1.5 }, 'max_requests_per_1_minute'],
      [{ max_tokens_per_1_minute: '5' }, 'max_tokens_per_1_minute'],
      [{ max_tokens_per_1_day: 5 }, 'max_tokens_per_1_day'],
      [{ max_tokens_per_1_minute: 1e14 }, 'max_tokens_per_1_minute'],
    ] as const) {
      const reply = await server.admin('POST', path, body);
      expect(reply).toMatchObject({ status: 400, body: { error: { param } } });
    }
  });

  test('a project key may not', async () => {
    const { server } = limited;
    const path = `/v1/organization/projects/${server.projectId}/rate_limits`;
    expect((await server.request(path)).status).toBe(403);
    expect((await server.request(`${path}/rl-gpt-4o`, { method: 'POST', body: '{}' })).status).toBe(403);
    expect((await server.request(path, { key: null })).status).toBe(401);
  });
});
