// Spend limits and alerts of the organization and of a project, usage and costs.

import { NotFoundError } from 'openai';
import { expect } from 'vitest';
import { expectListed, type Scenario, several, some } from './scenario.ts';

const LIMIT = { currency: 'USD', interval: 'month', threshold_amount: 50_000 } as const;

export async function spendLimits({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Spending' });
  const { spendLimit } = organization;
  const set = await spendLimit.update(LIMIT);
  expect(set).toMatchObject({ threshold_amount: 50_000, enforcement: { status: expect.any(String) } });
  expect(await spendLimit.retrieve()).toEqual(set);
  expect(await spendLimit.delete()).toMatchObject({ deleted: true });
  await expect(spendLimit.retrieve()).rejects.toThrow(NotFoundError);

  const ofProject = organization.projects.spendLimit;
  const lower = await ofProject.update(project, { ...LIMIT, threshold_amount: 900 });
  expect(await ofProject.retrieve(project)).toEqual(lower);
  expect(await ofProject.delete(project)).toMatchObject({ deleted: true });
}

const alert = (amount: number) => ({
  currency: 'USD' as const,
  interval: 'month' as const,
  threshold_amount: amount,
  notification_channel: { type: 'email' as const, recipients: ['finance@example.com'] },
});

export async function spendAlerts({ organization }: Scenario): Promise<void> {
  const { spendAlerts: alerts } = organization;
  const made = await several(3, (n) => alerts.create(alert(100 * (n + 1))));
  await expectListed(
    (page) => alerts.list(page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'alert');
  expect(await alerts.retrieve(id)).toMatchObject({ id, threshold_amount: 100 });
  expect(await alerts.update(id, alert(150))).toMatchObject({ id, threshold_amount: 150 });
  expect(await alerts.delete(id)).toMatchObject({ id, deleted: true });
  await expect(alerts.retrieve(id)).rejects.toThrow(NotFoundError);
}

export async function projectSpendAlerts({ organization }: Scenario): Promise<void> {
  const { id: project } = await organization.projects.create({ name: 'Alerts' });
  const { spendAlerts: alerts } = organization.projects;
  const made = await several(3, (n) => alerts.create(project, alert(100 * (n + 1))));
  await expectListed(
    (page) => alerts.list(project, page),
    made.map(({ id }) => id),
  );
  const { id } = some(made[0], 'alert');
  expect(await alerts.retrieve(id, { project_id: project })).toMatchObject({ id });
  expect(await alerts.update(id, { project_id: project, ...alert(150) })).toMatchObject({
    threshold_amount: 150,
  });
  expect(await alerts.delete(id, { project_id: project })).toMatchObject({ deleted: true });
}

export async function usage({ organization, server }: Scenario): Promise<void> {
  const key = await server.createKey({ name: 'user' });
  const told = await fetch(`${server.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key.value}`, 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'sandbox-small', messages: [{ role: 'user', content: 'Hello' }] }),
  });
  expect(told.status).toBe(200);
  const start_time = Math.floor(Date.now() / 1000) - 86_400;
  const reports = organization.usage;
  const whole = { start_time, bucket_width: '1d' as const };
  const pages = [
    await reports.completions({ ...whole, group_by: ['project_id', 'model'] }),
    await reports.embeddings({ ...whole, group_by: ['model'] }),
    await reports.moderations(whole),
    await reports.images({ ...whole, group_by: ['size', 'source'] }),
    await reports.audioSpeeches(whole),
    await reports.audioTranscriptions(whole),
    await reports.vectorStores(whole),
    await reports.codeInterpreterSessions(whole),
    await reports.fileSearchCalls(whole),
    await reports.webSearchCalls(whole),
    await reports.costs({ start_time, group_by: ['project_id', 'line_item'] }),
  ];
  for (const page of pages) expect(page).toMatchObject({ object: 'page', data: expect.any(Array) });
  expect(await reports.decisions({ start_time })).toMatchObject({ object: 'page' });
}
