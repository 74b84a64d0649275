// Who has which roles and is in which groups, in memory, so that what a key may do is known without a query.
//
// - What is held: the custom roles, every assignment, every membership of a group, and the service accounts that are
//   not plain members. The number of keys does not matter.
// - A user's rights in a project are the union of the roles that it has there, directly and by its groups, and of its
//   roles in the organization: an owner has everything everywhere, a custom role what it grants, in every project;
//   the reader's role, which every member of the organization has, opens no project.
// - A service account has the rights of its role in its own project, and of its groups' roles there.
// - Equal rights are one object, so that they can be compared and remembered by identity.
//
// It is read by whoever makes a principal (src/keys/registry.ts), which happens when a key is first seen and again
// after any change here; nothing on the road asks it.

import type { Change, Db } from '../store/store.ts';
import {
  assignmentsOf,
  type BookAssignment,
  type BookMember,
  customRoles,
  membershipsOf,
  serviceAccountRoles,
} from './book-rows.ts';
import { NO_RIGHTS, PREDEFINED_ROLES, type Rights, rightsOf } from './permission-names.ts';

const OWNER = PREDEFINED_ROLES.organizationOwner.id;
const READER = PREDEFINED_ROLES.organizationReader.id;
const NOBODY: readonly string[] = Object.freeze([]);
/** Objects read again in one query; what is held is only changed once all of them are read. */
const GROUP = 500;
/** Beyond this many different sets of roles, sharing starts afresh: memory is bounded, only sharing is lost. */
const SHARED_MAX = 10_000;

interface Held {
  readonly projectId: string | null;
  readonly roleId: string;
}

export type OwnerType = 'user' | 'service_account';

export class AccessBook {
  /** Custom and predefined roles: what they grant. */
  readonly #roles = new Map<string, readonly string[]>();
  /** By user or group. */
  readonly #assignments = new Map<string, readonly Held[]>();
  /** By user or service account: the groups that it is in. */
  readonly #groups = new Map<string, readonly string[]>();
  /** Service accounts that are not `member`. */
  readonly #accounts = new Map<string, 'owner' | 'none'>();
  readonly #shared = new Map<string, Rights>();
  /** Answers of `within` until anything changes, because many keys have one owner. */
  readonly #within = new Map<string, Rights | null>();

  constructor() {
    for (const role of Object.values(PREDEFINED_ROLES)) this.#roles.set(role.id, role.permissions);
  }

  /** Reads everything. Call once, before the first `take`. */
  async load(db: Db): Promise<void> {
    for (const role of await customRoles(db)) this.#roles.set(role.id, role.permissions);
    for await (const page of assignmentsOf(db)) this.#keepAssignments(page);
    for await (const page of membershipsOf(db)) this.#keepMembers(page);
    for (const { id, role } of await serviceAccountRoles(db))
      if (role !== 'member') this.#accounts.set(id, role);
  }

  /** Reads what changed again. Returns whether anything that this book holds may be different now. */
  async take(db: Db, changes: readonly Change[]): Promise<boolean> {
    const roles = idsOf(changes, 'role');
    const principals = idsOf(changes, 'access', 'user');
    const accounts = idsOf(changes, 'service_account');
    if (roles.length + principals.length + accounts.length === 0) return false;
    try {
      await this.#readAgain(db, roles, principals, accounts);
    } finally {
      // Also what was answered while it was being read.
      this.#within.clear();
    }
    return true;
  }

  async #readAgain(
    db: Db,
    roles: readonly string[],
    principals: readonly string[],
    accounts: readonly string[],
  ): Promise<void> {
    for (const group of inGroups(roles)) {
      const read = await customRoles(db, group);
      for (const id of group) this.#roles.delete(id);
      for (const role of read) this.#roles.set(role.id, role.permissions);
      this.#shared.clear();
    }
    for (const group of inGroups(principals)) {
      const assignments: BookAssignment[] = [];
      for await (const page of assignmentsOf(db, group)) assignments.push(...page);
      const members: BookMember[] = [];
      for await (const page of membershipsOf(db, group)) members.push(...page);
      for (const id of group) {
        this.#assignments.delete(id);
        this.#groups.delete(id);
      }
      this.#keepAssignments(assignments);
      this.#keepMembers(members);
    }
    for (const group of inGroups(accounts)) {
      const read = await serviceAccountRoles(db, group);
      for (const id of group) this.#accounts.delete(id);
      for (const { id, role } of read) if (role !== 'member') this.#accounts.set(id, role);
    }
  }

  /** The groups that a user or service account is in, oldest membership first; always the same list until it changes. */
  groupsOf(ownerId: string): readonly string[] {
    return this.#groups.get(ownerId) ?? NOBODY;
  }

  /** What a user may do in the organization. */
  organizationRights(userId: string): Rights {
    return this.#union(this.#heldBy(userId), (held) => held.projectId === null);
  }

  /** What an owner of keys may do within a project, or null if it has no access to it. */
  within(type: OwnerType, ownerId: string, projectId: string): Rights | null {
    const key = `${ownerId} ${projectId}`;
    let rights = this.#within.get(key);
    if (rights === undefined) {
      rights = this.#rightsWithin(type, ownerId, projectId);
      if (this.#within.size >= SHARED_MAX) this.#within.clear();
      this.#within.set(key, rights);
    }
    return rights;
  }

  #rightsWithin(type: OwnerType, ownerId: string, projectId: string): Rights | null {
    const held = this.#heldBy(ownerId);
    if (type === 'service_account') {
      const role = this.#accounts.get(ownerId) ?? 'member';
      if (role !== 'none') held.push({ projectId, roleId: accountRole(role) });
    }
    const counts = (one: Held) =>
      one.projectId === projectId || (one.projectId === null && one.roleId !== READER && type === 'user');
    return held.some(counts) ? this.#union(held, counts) : null;
  }

  /** The projects that a user has access to, by id; `all` of the organization's where a role counts in each. */
  projectsOf(userId: string): readonly string[] | 'all' {
    const held = this.#heldBy(userId);
    if (held.some(({ projectId, roleId }) => projectId === null && roleId !== READER)) return 'all';
    return [...new Set(held.flatMap(({ projectId }) => (projectId === null ? [] : [projectId])))];
  }

  /** Whether this user is one of the organization's owners, directly or by a group. */
  isOwner(userId: string): boolean {
    return this.#heldBy(userId).some((held) => held.projectId === null && held.roleId === OWNER);
  }

  /** Its own roles and its groups'; a list of its own. */
  #heldBy(id: string): Held[] {
    return [id, ...this.groupsOf(id)].flatMap((one) => this.#assignments.get(one) ?? []);
  }

  #union(held: readonly Held[], counts: (held: Held) => boolean): Rights {
    const ids = [...new Set(held.filter(counts).map(({ roleId }) => roleId))].sort();
    if (ids.length === 0) return NO_RIGHTS;
    const key = ids.join(' ');
    let rights = this.#shared.get(key);
    if (rights === undefined) {
      rights = rightsOf(ids.flatMap((id) => this.#roles.get(id) ?? []));
      if (this.#shared.size >= SHARED_MAX) this.#shared.clear();
      this.#shared.set(key, rights);
    }
    return rights;
  }

  #keepAssignments(read: readonly BookAssignment[]): void {
    for (const { principalId, projectId, roleId } of read) {
      this.#assignments.set(principalId, [
        ...(this.#assignments.get(principalId) ?? []),
        { projectId, roleId },
      ]);
    }
  }

  #keepMembers(read: readonly BookMember[]): void {
    for (const { memberId, groupId } of read) {
      this.#groups.set(memberId, Object.freeze([...this.groupsOf(memberId), groupId]));
    }
  }
}

function accountRole(role: 'owner' | 'member'): string {
  return role === 'owner' ? PREDEFINED_ROLES.projectOwner.id : PREDEFINED_ROLES.projectMember.id;
}

function idsOf(changes: readonly Change[], ...kinds: Change['kind'][]): readonly string[] {
  return [...new Set(changes.filter(({ kind }) => kinds.includes(kind)).map(({ objectId }) => objectId))];
}

function* inGroups(ids: readonly string[]): Generator<readonly string[]> {
  for (let at = 0; at < ids.length; at += GROUP) yield ids.slice(at, at + GROUP);
}
