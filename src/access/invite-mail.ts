// The e-mail that carries an invitation. The token is a secret: it lies sealed in the outbox, and is put into the text
// when that is sent (src/notify/email.ts).

import { enqueue } from '../notify/outbox.ts';
import type { OrganizationId } from '../platform/ids.ts';
import type { Seals } from '../secrets/seals.ts';
import type { Tx } from '../store/store.ts';
import type { Invite } from './model.ts';

export type InviteSealing = Pick<Seals, 'seal'>;

/** Seals a token for the mail of this invitation. Sealing waits, and a transaction must not: call it before. */
export async function sealToken(
  seals: InviteSealing,
  organizationId: OrganizationId,
  inviteId: string,
  token: string,
): Promise<string> {
  const place = { organizationId, projectId: null, purpose: 'delivery', id: inviteId } as const;
  return (await seals.seal(place, token)).toString('base64');
}

/** Within the transaction of the invitation. */
export async function enqueueInvite(tx: Tx, invite: Invite, sealed: string, at: number): Promise<void> {
  const { name } = await tx
    .selectFrom('organizations')
    .select('name')
    .where('id', '=', invite.organization_id)
    .executeTakeFirstOrThrow();
  const text = [
    `You are invited to ${name}, as its ${invite.role}.`,
    '',
    'Accept with the address of its keygate server, which whoever invited you knows:',
    '',
    '  KEYGATE_URL=https://… keygate invites accept {secret} --admin-key',
    '',
    'or without the command line:',
    '',
    "  curl https://…/v1/keygate/invites/accept -H 'Content-Type: application/json' \\",
    `    -d '{"token": "{secret}", "admin_key": true}'`,
    '',
    `It works once, until ${new Date(invite.expires_at).toISOString().slice(0, 16).replace('T', ' ')} UTC. Keep it to yourself.`,
    '',
  ].join('\n');
  const body = JSON.stringify({
    subject: `Invitation to ${name}`,
    text,
    sealed: { id: invite.id, data: sealed },
  });
  await enqueue(
    tx,
    [
      {
        // The column holds what newId made.
        organizationId: invite.organization_id as OrganizationId,
        projectId: null,
        channel: 'email',
        target: invite.email,
        eventId: invite.id,
        eventType: 'invite.sent',
        body,
      },
    ],
    at,
  );
}
