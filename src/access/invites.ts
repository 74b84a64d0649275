// Invitations: an address, a role and projects, waiting for somebody to accept with the token that was made for it. The
// token is shown once, or sent, and only its digest is kept; it works once, within seven days. Each verb does its rows,
// its audit entry and its announcements inside the caller's `Store.write`.

import { hash } from 'node:crypto';
import { z } from 'zod';
import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { ApiError } from '../platform/errors.ts';
import { newId, type OrganizationId, type ProjectId, randomBase62 } from '../platform/ids.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { assignRole } from './assignments.ts';
import { enqueueInvite, type InviteSealing, sealToken } from './invite-mail.ts';
import { type Invite, notFound, type User } from './model.ts';
import { beyond, cut, type Page, type PageRequest, unknownAfter } from './page.ts';
import { predefinedProjectRole } from './project-access.ts';
import { addUser, plainEmail, refuseTakenEmail } from './users.ts';
import { invalidParameter } from './validation.ts';

/** How long an invitation can be accepted. */
const VALID_MS = 7 * 86_400_000;
const TOKEN_PREFIX = 'kgi_';
/** 43 base62 characters: 256 random bits. */
const TOKEN_RANDOM = 43;

const Projects = z.array(z.object({ id: z.string(), role: z.enum(['owner', 'member']) }));
export type InvitedProject = z.infer<typeof Projects>[number];

export function projectsOf(invite: Invite): readonly InvitedProject[] {
  return Projects.parse(JSON.parse(invite.projects));
}

export type InviteStatus = 'pending' | 'accepted' | 'expired';

export function statusOf(invite: Invite, nowMs: number): InviteStatus {
  if (invite.accepted_at !== null) return 'accepted';
  return invite.expires_at <= nowMs ? 'expired' : 'pending';
}

/** A token for an invitation, made before the transaction so that it can be sealed for the mail. */
export interface InviteToken {
  readonly inviteId: string;
  readonly token: string;
  /** The token sealed for the mail; null: none is sent. */
  readonly sealed: string | null;
}

/** @param seals null where no mail is set up */
export async function newInviteToken(
  seals: InviteSealing | null,
  organizationId: OrganizationId,
  inviteId: string = newId('invite-'),
): Promise<InviteToken> {
  const token = TOKEN_PREFIX + randomBase62(TOKEN_RANDOM);
  return { inviteId, token, sealed: seals && (await sealToken(seals, organizationId, inviteId, token)) };
}

function digestOf(token: string): Uint8Array {
  return new Uint8Array(hash('sha256', token, 'buffer'));
}

function findInvite(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<Invite | undefined> {
  return db
    .selectFrom('invites')
    .selectAll()
    .where('organization_id', '=', organizationId)
    .where('id', '=', id)
    .executeTakeFirst();
}

export async function getInvite(db: Db | Tx, organizationId: OrganizationId, id: string): Promise<Invite> {
  const invite = await findInvite(db, organizationId, id);
  if (invite === undefined) throw notFound('invite', id);
  return invite;
}

export async function listInvites(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest,
): Promise<Page<Invite>> {
  let query = db.selectFrom('invites').selectAll().where('organization_id', '=', organizationId);
  if (page.after !== undefined) {
    const place = await findInvite(db, organizationId, page.after);
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('invites', place, 'asc'));
  }
  const rows = await query
    .orderBy('created_at')
    .orderBy('id')
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}

export interface InviteOrder {
  readonly email: string;
  readonly role: 'owner' | 'reader';
  /** Undefined: the default project, as a member. */
  readonly projects?: readonly InvitedProject[] | undefined;
}

/** A new invitation and its token, which is not kept. */
export interface Invited {
  readonly invite: Invite;
  readonly token: string;
}

export async function createInvite(
  tx: Tx,
  by: Attribution,
  order: InviteOrder,
  { inviteId, token, sealed }: InviteToken,
): Promise<Invited> {
  const email = plainEmail(order.email);
  await refuseTakenEmail(tx, by, email);
  await refuseSecondInvite(tx, by, email);
  const projects = order.projects ?? (await defaultProject(tx, by.organizationId));
  await assertProjects(tx, by.organizationId, projects);
  const invite = {
    id: inviteId,
    organization_id: by.organizationId,
    email,
    role: order.role,
    projects: JSON.stringify(projects),
    token_digest: digestOf(token),
    created_at: by.at,
    expires_at: by.at + VALID_MS,
    accepted_at: null,
    accepted_by: null,
  } satisfies Invite;
  await tx.insertInto('invites').values(invite).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'invite.sent',
    payload: { id: invite.id, data: { email, role: invite.role, projects: [...projects] } },
  });
  if (sealed !== null) await enqueueInvite(tx, invite, sealed, by.at);
  return { invite, token };
}

async function refuseSecondInvite(tx: Tx, by: Attribution, email: string): Promise<void> {
  const pending = await tx
    .selectFrom('invites')
    .select('id')
    .where('organization_id', '=', by.organizationId)
    .where('email', '=', email)
    .where('accepted_at', 'is', null)
    .where('expires_at', '>', by.at)
    .executeTakeFirst();
  if (pending === undefined) return;
  throw invalidParameter(
    'email',
    `Invalid 'email': it is invited already (${pending.id}); delete that invite first.`,
  );
}

async function defaultProject(tx: Tx, organizationId: OrganizationId): Promise<InvitedProject[]> {
  const project = await tx
    .selectFrom('projects')
    .select('id')
    .where('organization_id', '=', organizationId)
    .where('is_default', '=', 1)
    .executeTakeFirst();
  return project === undefined ? [] : [{ id: project.id, role: 'member' }];
}

async function assertProjects(
  tx: Tx,
  organizationId: OrganizationId,
  projects: readonly InvitedProject[],
): Promise<void> {
  for (const [at, { id }] of projects.entries()) {
    const project = await tx
      .selectFrom('projects')
      .select('status')
      .where('organization_id', '=', organizationId)
      .where('id', '=', id)
      .executeTakeFirst();
    const param = `projects[${at}].id`;
    if (project?.status !== 'active')
      throw invalidParameter(param, `Invalid '${param}': no active project has this id.`);
  }
}

/** Makes a new token for a pending invitation, with another seven days; the one before works no longer. */
export async function renewInvite(
  tx: Tx,
  by: Attribution,
  { inviteId: id, token, sealed }: InviteToken,
): Promise<Invited> {
  const invite = await getInvite(tx, by.organizationId, id);
  if (invite.accepted_at !== null) throw accepted();
  const digest = digestOf(token);
  const expires_at = by.at + VALID_MS;
  await tx.updateTable('invites').set({ token_digest: digest, expires_at }).where('id', '=', id).execute();
  const payload = { id, data: { email: invite.email, role: invite.role } };
  await append(tx, { by, projectId: null, type: 'invite.sent', payload });
  const renewed = { ...invite, token_digest: digest, expires_at };
  if (sealed !== null) await enqueueInvite(tx, renewed, sealed, by.at);
  return { invite: renewed, token };
}

function accepted(): ApiError {
  return new ApiError(400, 'This invite was accepted: delete the user instead.', { param: 'invite_id' });
}

export async function deleteInvite(tx: Tx, by: Attribution, id: string): Promise<void> {
  const invite = await getInvite(tx, by.organizationId, id);
  if (invite.accepted_at !== null) throw accepted();
  await tx
    .deleteFrom('invites')
    .where('organization_id', '=', by.organizationId)
    .where('id', '=', id)
    .execute();
  await append(tx, { by, projectId: null, type: 'invite.deleted', payload: { id } });
}

export interface Accepted {
  readonly invite: Invite;
  readonly user: User;
  readonly by: Attribution;
}

/** Whoever has the token becomes a user with what the invitation says. Projects archived meanwhile are left out. */
export async function acceptInvite(
  store: Store,
  tx: Tx,
  presented: string,
  name: string | undefined,
  atMs: number,
  ipAddress: string | null,
): Promise<Accepted> {
  const invite = await tx
    .selectFrom('invites')
    .selectAll()
    .where('token_digest', '=', digestOf(presented))
    .executeTakeFirst();
  if (invite === undefined || invite.accepted_at !== null) {
    throw invalidParameter(
      'token',
      "Invalid 'token': no invite waits for it. Each token works once; ask for another.",
    );
  }
  if (invite.expires_at <= atMs) {
    throw invalidParameter('token', "Invalid 'token': the invite has expired. Ask for another.");
  }
  return await admitInvited(store, tx, invite, name, atMs, ipAddress);
}

/** The invitation that waits for this address, whose holder has proved to have it; undefined if none does. */
export async function pendingInviteOf(tx: Tx, email: string, atMs: number): Promise<Invite | undefined> {
  const invites = await tx
    .selectFrom('invites')
    .selectAll()
    .where('email', '=', plainEmail(email))
    .where('accepted_at', 'is', null)
    .where('expires_at', '>', atMs)
    .limit(2)
    .execute();
  // Invited by two organizations: which one is meant only a token says.
  return invites.length === 1 ? invites[0] : undefined;
}

/** Makes a user of whoever was invited and has shown to be meant, by the token or by its address. */
export async function admitInvited(
  store: Store,
  tx: Tx,
  invite: Invite,
  name: string | undefined,
  atMs: number,
  ipAddress: string | null,
): Promise<Accepted> {
  // The column holds what newId made.
  const organizationId = invite.organization_id as OrganizationId;
  const by: Attribution = {
    organizationId,
    at: atMs,
    actor: { type: 'invite', invite: { id: invite.id, email: invite.email }, ip_address: ipAddress },
  };
  const user = await addUser(store, tx, by, {
    email: invite.email,
    name: name ?? invite.email,
    role: invite.role,
  });
  for (const { id, role } of projectsOf(invite)) {
    const project = await tx.selectFrom('projects').select('status').where('id', '=', id).executeTakeFirst();
    if (project?.status !== 'active') continue;
    // It was an active project's id when the invitation was made.
    const projectId = id as ProjectId;
    const roleId = predefinedProjectRole(role);
    await assignRole(store, tx, by, { projectId, principal: { type: 'user', id: user.id }, roleId });
  }
  const changes = { accepted_at: atMs, accepted_by: user.id };
  await tx.updateTable('invites').set(changes).where('id', '=', invite.id).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'invite.accepted',
    payload: { id: invite.id, data: { user_id: user.id } },
  });
  return { invite: { ...invite, ...changes }, user, by };
}
