// What changes in somebody's access on one node is in effect on the others within a second.

import { afterAll, beforeAll, expect, it } from 'vitest';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { freshPostgres } from '../store/stores.ts';
import { all, expectOk, joins, keyOf, person, ROLE } from './people.ts';
import { openPlane, type Plane } from './plane.ts';

let plane: Plane;
let there: KeyRegistry;
let stop: () => Promise<void>;
beforeAll(async () => {
  plane = await openPlane({ kind: 'postgres', fresh: freshPostgres });
  const other = await plane.place.open({ clock: plane.clock });
  there = new KeyRegistry({ clock: plane.clock });
  await there.load(other);
  stop = there.follow(other);
});
afterAll(async () => {
  await stop?.();
  await plane?.close();
});

/** How long it takes until the other node sees it so, in milliseconds. */
async function until(seen: () => boolean): Promise<number> {
  const from = performance.now();
  await expect.poll(seen, { interval: 2, timeout: 5000 }).toBe(true);
  return performance.now() - from;
}

it('roles, groups, projects and departures reach the other node within a second', async () => {
  const { groups, users, projects } = plane.admin.admin.organization;
  const waits: number[] = [];
  const group = await groups.create({ name: 'Everywhere' });
  for (let round = 0; round < 3; round++) {
    const id = await person(plane);
    await joins(plane, plane.projectId, id, 'viewer');
    const key = await keyOf(plane, plane.projectId, id);
    const rights = () => there.find(key)?.rights;
    waits.push(await until(() => rights()?.has('api.files.read') === true));
    await projects.users.update(id, { project_id: plane.projectId, role: 'member' });
    waits.push(await until(() => rights()?.has('api.model.request') === true));
    await groups.users.create(group.id, { user_id: id });
    waits.push(await until(() => there.find(key)?.groups.includes(group.id) === true));
    await projects.users.delete(id, { project_id: plane.projectId });
    waits.push(await until(() => rights() === undefined));
    await projects.groups.create(plane.projectId, { group_id: group.id, role: ROLE.projectViewer.id });
    waits.push(await until(() => rights()?.has('api.files.read') === true));
    await projects.groups.delete(group.id, { project_id: plane.projectId });
    waits.push(await until(() => rights() === undefined));
    await joins(plane, plane.projectId, id);
    waits.push(await until(() => rights() !== undefined));
    await users.delete(id);
    waits.push(await until(() => rights() === undefined));
  }
  // The middle one, because a busy machine may stop any process for a second.
  expect(waits.sort((a, b) => a - b)[Math.floor(waits.length / 2)]).toBeLessThan(1000);
  expect((await all(groups.users.list(group.id))).length).toBe(0);
  await expectOk(plane.call('GET', '/v1/organization/groups'));
});
