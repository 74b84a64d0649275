// Lists of addresses that may call: made, changed, activated and removed for an organization (its admin keys included)
// or for a project. A list holds once it is activated; an organization's list that would shut out whoever sets it is
// refused, because nobody could then take it back.

import { getActiveProject } from '../access/store.ts';
import { invalidParameter } from '../access/validation.ts';
import { append } from '../audit/chain.ts';
import type { Attribution, AuditEventType, AuditValue } from '../audit/model.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type ProjectId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import { activeRanges } from './controls.ts';
import type { OrganizationSettings } from './settings.ts';
import {
  getOrganizationSettings,
  getProjectSettings,
  setOrganizationSetting,
  setProjectSetting,
} from './store.ts';

export type Allowlists = NonNullable<OrganizationSettings['ip_allowlists']>;
export type Allowlist = Allowlists[number];

const LISTS_MAX = 50;

/** Whose lists, and who changes them from where. */
export interface Scope {
  readonly by: Attribution;
  /** Null: the organization's. */
  readonly projectId: ProjectId | null;
  readonly address: string;
}

export interface AllowlistChange {
  readonly name?: string | undefined;
  /** Canonical CIDR ranges. */
  readonly allowed_ips?: readonly string[] | undefined;
}

export async function createAllowlist(
  store: Store,
  scope: Scope,
  order: { readonly name: string; readonly allowed_ips: readonly string[] },
): Promise<Allowlist> {
  const made: Allowlist = {
    id: newId('ipal_'),
    name: order.name,
    allowed_ips: [...order.allowed_ips],
    active: false,
    created_at: scope.by.at,
  };
  await change(store, scope, (lists) => {
    if (lists.length >= LISTS_MAX)
      throw new ApiError(400, `There may be at most ${LISTS_MAX} lists of addresses here.`);
    const { id, name, allowed_ips } = made;
    return { lists: [...lists, made], type: 'ip_allowlist.created', payload: { id, name, allowed_ips } };
  });
  return made;
}

export async function updateAllowlist(
  store: Store,
  scope: Scope,
  id: string,
  asked: AllowlistChange,
): Promise<Allowlist> {
  return await changeOne(store, scope, id, (list) => {
    const { name = list.name, allowed_ips = list.allowed_ips } = asked;
    const after: Allowlist = { ...list, name, allowed_ips: [...allowed_ips] };
    return {
      after,
      type: 'ip_allowlist.updated',
      payload: {
        id,
        name,
        allowed_ips: after.allowed_ips,
        before: { name: list.name, allowed_ips: list.allowed_ips },
      },
    };
  });
}

export async function activateAllowlist(
  store: Store,
  scope: Scope,
  id: string,
  active: boolean,
): Promise<Allowlist> {
  return await changeOne(store, scope, id, (list) => ({
    after: { ...list, active },
    type: active ? 'ip_allowlist.config.activated' : 'ip_allowlist.config.deactivated',
    payload: { id, configs: [{ id, name: list.name }] },
  }));
}

export async function deleteAllowlist(store: Store, scope: Scope, id: string): Promise<void> {
  await change(store, scope, (lists) => {
    const list = find(lists, id);
    const payload = { id, name: list.name, allowed_ips: list.allowed_ips };
    return { lists: lists.filter((other) => other !== list), type: 'ip_allowlist.deleted', payload };
  });
}

export function find(lists: Allowlists, id: string): Allowlist {
  const list = lists.find((one) => one.id === id);
  if (list === undefined) throw new ApiError(404, 'There is no list of addresses with this id here.');
  return list;
}

interface Told {
  readonly type: AuditEventType;
  readonly payload: { readonly id: string; readonly [name: string]: AuditValue };
}

async function changeOne(
  store: Store,
  scope: Scope,
  id: string,
  work: (list: Allowlist) => Told & { readonly after: Allowlist },
): Promise<Allowlist> {
  return await change(store, scope, (lists) => {
    const list = find(lists, id);
    const { after, type, payload } = work(list);
    return { lists: lists.map((one) => (one === list ? after : one)), type, payload, result: after };
  }).then((result) => result ?? find([], id));
}

async function change(
  store: Store,
  scope: Scope,
  work: (lists: Allowlists) => Told & { readonly lists: Allowlists; readonly result?: Allowlist },
): Promise<Allowlist | undefined> {
  const { by, projectId, address } = scope;
  return await store.write(async (tx) => {
    const { lists, type, payload, result } = work(await read(tx, scope));
    if (projectId === null) {
      const ranges = activeRanges(lists);
      if (ranges !== null && !ranges.includes(address)) throw lockedOut();
      await setOrganizationSetting(store, tx, by, 'ip_allowlists', lists.length === 0 ? null : lists);
    } else {
      const place = { organizationId: by.organizationId, projectId, at: by.at };
      await setProjectSetting(store, tx, place, 'ip_allowlists', lists.length === 0 ? null : lists);
    }
    await append(tx, { by, projectId, type, payload });
    return result;
  });
}

async function read(tx: Tx, { by, projectId }: Scope): Promise<Allowlists> {
  if (projectId === null) return (await getOrganizationSettings(tx, by.organizationId)).ip_allowlists ?? [];
  await getActiveProject(tx, by.organizationId, projectId);
  return (await getProjectSettings(tx, by.organizationId, projectId)).ip_allowlists ?? [];
}

function lockedOut(): ApiError {
  return invalidParameter(
    'allowed_ips',
    'The lists that would then be active leave out the address from which you ask: you could not take it back. Add your ' +
      'own address to one of them first.',
  );
}
