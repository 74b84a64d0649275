// From a person that the issuer vouches for to a session of one of the organization's users.
//
// A user is known by the issuer's subject once it has signed in. The first time it is found by its e-mail address, which
// the issuer must have verified, and from then on that subject alone is that user: an address that was given to somebody
// else later does not give them the account. Who is no user, and is not invited, is refused.

import { admitInvited, pendingInviteOf } from '../../access/invites.ts';
import type { User } from '../../access/model.ts';
import { BoundedLog } from '../../audit/bounded.ts';
import { append } from '../../audit/chain.ts';
import type { AuditActor } from '../../audit/model.ts';
import type { Clock } from '../../platform/clock.ts';
import type { OrganizationId } from '../../platform/ids.ts';
import type { Store, Tx } from '../../store/store.ts';
import { type Person, SignInFailed } from './model.ts';
import { type NewSession, startSession } from './sessions.ts';

export interface SignedIn {
  readonly session: NewSession;
  readonly user: User;
}

export interface SignInDeps {
  readonly store: Store;
  readonly clock: Clock;
  readonly issuer: string;
  readonly lifetimeMs: number;
  readonly onError: (error: unknown) => void;
}

/** A name as the issuer has it, as one line of at most 256 characters. */
function plainName(name: string): string | undefined {
  const text = name
    .toWellFormed()
    .replace(/\p{Cc}+/gu, ' ')
    .trim()
    .slice(0, 256);
  return text === '' ? undefined : text.toWellFormed();
}

export class SignIn {
  readonly #deps: SignInDeps;
  readonly #failures: BoundedLog;

  constructor(deps: SignInDeps) {
    this.#deps = deps;
    this.#failures = new BoundedLog(deps.clock);
  }

  /** @throws SignInFailed for a person who is no user here */
  async admit(person: Person, address: string): Promise<SignedIn> {
    const { store, clock, lifetimeMs } = this.#deps;
    return await store.write(async (tx) => {
      const user = await this.#userOf(tx, person, address);
      // The column holds what newId made.
      const organizationId = user.organization_id as OrganizationId;
      const actor: AuditActor = {
        type: 'session',
        session: { user: { id: user.id, email: user.email }, ip_address: address || null },
      };
      const by = { organizationId, actor, at: clock.now() };
      return { user, session: await startSession(store, tx, by, user.id, lifetimeMs) };
    });
  }

  async #userOf(tx: Tx, person: Person, address: string): Promise<User> {
    const { issuer, clock } = this.#deps;
    const known = await tx
      .selectFrom('user_identities')
      .innerJoin('users', (join) =>
        join
          .onRef('users.id', '=', 'user_identities.user_id')
          .onRef('users.organization_id', '=', 'user_identities.organization_id'),
      )
      .selectAll('users')
      .where('user_identities.issuer', '=', issuer)
      .where('user_identities.subject', '=', person.subject)
      .execute();
    if (known.length > 1) throw new SignInFailed('user_of_several_organizations');
    const [user] = known;
    if (user !== undefined) return user;
    return await this.#link(tx, person, clock.now(), address);
  }

  async #link(tx: Tx, person: Person, at: number, address: string): Promise<User> {
    const { store, issuer } = this.#deps;
    if (person.email === null) throw new SignInFailed('email_missing');
    if (!person.emailVerified) throw new SignInFailed('email_not_verified');
    const email = person.email.toLowerCase();
    const users = await tx
      .selectFrom('users')
      .selectAll()
      .where(({ eb, fn }) => eb(fn<string>('lower', ['users.email']), '=', email))
      .limit(2)
      .execute();
    if (users.length > 1) throw new SignInFailed('user_of_several_organizations');
    const invite = users.length === 0 ? await pendingInviteOf(tx, email, at) : undefined;
    const name = person.name === null ? undefined : plainName(person.name);
    const user =
      invite === undefined
        ? users[0]
        : (await admitInvited(store, tx, invite, name, at, address || null)).user;
    if (user === undefined) throw new SignInFailed('user_unknown');
    const taken = await tx
      .selectFrom('user_identities')
      .select('subject')
      .where('user_id', '=', user.id)
      .where('issuer', '=', issuer)
      .executeTakeFirst();
    if (taken !== undefined) throw new SignInFailed('user_is_of_another_subject');
    await tx
      .insertInto('user_identities')
      .values({
        organization_id: user.organization_id,
        user_id: user.id,
        issuer,
        subject: person.subject,
        created_at: at,
      })
      .execute();
    return user;
  }

  /** Writes a failure to the log of the first organization, within bounds; the failure stands in any case. */
  async note(failure: SignInFailed, address: string): Promise<void> {
    const { store, clock, onError } = this.#deps;
    const write = (leftOut: number) =>
      store.write(async (tx) => {
        const organization = await tx
          .selectFrom('organizations')
          .select('id')
          .orderBy('created_at')
          .executeTakeFirst();
        if (organization === undefined) return;
        const by = {
          // The column holds what newId made.
          organizationId: organization.id as OrganizationId,
          actor: { type: 'server' } as const,
          at: clock.now(),
        };
        await append(tx, {
          by,
          projectId: null,
          type: 'login.failed',
          payload: {
            id: 'sign-in',
            error_code: failure.code,
            error_message: `The sign-in failed: ${failure.code}.`,
            data: { ip_address: address || null, left_out_before: leftOut },
          },
        });
      });
    await this.#failures.record('sign-in', write).catch(onError);
  }
}
