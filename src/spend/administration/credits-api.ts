// The HTTP surface of prepaid credits, keygate's own: `/v1/keygate/credits`. Amounts that people enter are cents, as in
// the published API; what is left and used is told in dollars, to the nano-dollar.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  replies,
  seconds,
  secondsOrNull,
  TimestampSchema,
} from '../../access/http.ts';
import { listOf, listSchema, PageQuery } from '../../access/page.ts';
import type { CreditGrantId } from '../../platform/ids.ts';
import type { CreditGrantTable } from '../../store/schema-credits.ts';
import { centsToNano, nanoToCents } from '../budgets/model.ts';
import { type Grant, leftOf } from '../credits/ledger.ts';
import { type Billing, grantOf } from '../credits/store.ts';
import {
  declareBilling,
  getGrant,
  grantCredits,
  listGrants,
  revokeGrant,
  type Standing,
  standing,
} from './credits.ts';
import { dollarsOf } from './dollars.ts';
import { MAX_CENTS } from './owner.ts';

const PATH = '/v1/keygate/credits';
const GRANTS = `${PATH}/grants`;

const Dollars = z.string().openapi({ description: 'Dollars, to the nano-dollar.', example: '12.5' });
const Line = z
  .string()
  .max(512, 'must be at most 512 characters long')
  .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), 'must not hold control characters');

const CreditsSchema = z
  .object({
    object: z.literal('keygate.credits'),
    billing: z.enum(['prepaid', 'postpaid', 'undeclared']).openapi({
      description: '`undeclared`: nobody said how this organization pays, and paid calls are refused.',
    }),
    declared_at: TimestampSchema.nullable().openapi({
      description: 'Null: it was not declared here, and the configuration (`spend.account`) decides.',
    }),
    currency: z.literal('USD'),
    available: Dollars.openapi({
      description: 'What new calls can still reserve. Below 0: a provider billed more than was granted.',
    }),
    reserved: Dollars.openapi({ description: 'What calls under way may cost, and what nodes hold ahead.' }),
    next_expiry: z.object({ at: TimestampSchema, amount: Dollars }).nullable(),
  })
  .openapi('Credits');

const GrantSchema = z
  .object({
    object: z.literal('keygate.credit_grant'),
    id: IdSchema,
    amount: z.int().openapi({ description: 'Cents.' }),
    currency: z.literal('USD'),
    used: Dollars,
    left: Dollars,
    expired: Dollars.openapi({ description: 'What expiry or a revocation took away.' }),
    status: z.enum(['active', 'used', 'expired', 'revoked']),
    note: z.string(),
    reference: z.string().nullable(),
    created_at: TimestampSchema,
    expires_at: TimestampSchema.nullable(),
    ended_at: TimestampSchema.nullable(),
  })
  .openapi('CreditGrant');

const DeclareBody = z.strictObject({ billing: z.enum(['prepaid', 'postpaid']) });

const GrantBody = z.strictObject({
  amount: z
    .int('must be a whole number of cents')
    .min(1, 'must be at least one cent')
    .max(MAX_CENTS, `must be at most ${MAX_CENTS} cents`),
  currency: z.literal('USD').default('USD'),
  expires_at: z.int().min(0).max(253_402_300_799, 'must be before the year 10000').nullable().default(null),
  note: Line.default(''),
  reference: Line.min(1).nullable().default(null).openapi({
    description: 'Your own name for it, such as an invoice: a grant of the same reference is made once.',
  }),
});

const Path = z.object({
  grant_id: IdSchema.transform((id) => id as CreditGrantId).openapi({ type: 'string' }),
});

/** @param unsaid how an organization pays that did not say so, by the configuration */
export function creditsApi(
  { store, clock }: ControlPlaneDeps,
  { admin }: Authentication,
  unsaid: Billing,
): ControlApp {
  const app = newApp();
  const common = { tags: ['Credits'], middleware: [admin] };
  const now = (c: Parameters<typeof attribution>[0]): Promise<Standing> =>
    standing(store, c.get('principal').organizationId, unsaid, clock.now());

  const show = createRoute({
    ...common,
    method: 'get',
    path: PATH,
    responses: replies(CreditsSchema, 'How the organization pays, and what is left.'),
  });
  app.openapi(show, async (c) => c.json(creditsObject(await now(c)), 200));

  const declare = createRoute({
    ...common,
    method: 'post',
    path: PATH,
    request: { body: jsonBody(DeclareBody) },
    responses: replies(CreditsSchema, 'How the organization pays now: on other nodes within a second.'),
  });
  app.openapi(declare, async (c) => {
    const by = attribution(c, clock);
    const { billing } = c.req.valid('json');
    await store.write((tx) => declareBilling(store, tx, by, billing));
    return c.json(creditsObject(await now(c)), 200);
  });

  const list = createRoute({
    ...common,
    method: 'get',
    path: GRANTS,
    request: { query: PageQuery },
    responses: replies(listSchema(GrantSchema), "The organization's grants, the newest first."),
  });
  app.openapi(list, async (c) => {
    const { ledger } = await now(c);
    const { organizationId } = c.get('principal');
    const { rows, hasMore } = await listGrants(store.db, organizationId, c.req.valid('query'));
    return c.json(
      listOf(
        rows.map((row) => grantObject(row, ledger.grants)),
        hasMore,
      ),
      200,
    );
  });

  const grant = createRoute({
    ...common,
    method: 'post',
    path: GRANTS,
    request: { body: jsonBody(GrantBody) },
    responses: replies(GrantSchema, 'The grant: in effect on this node already, on others within a second.'),
  });
  app.openapi(grant, async (c) => {
    const by = attribution(c, clock);
    const { amount, expires_at: expires, note, reference } = c.req.valid('json');
    const order = {
      amount: centsToNano(amount),
      expiresAt: expires === null ? null : expires * 1000,
      note,
      reference,
    };
    const row = await store.write((tx) => grantCredits(store, tx, by, order, unsaid));
    return c.json(grantObject(row, (await now(c)).ledger.grants), 200);
  });

  const get = createRoute({
    ...common,
    method: 'get',
    path: `${GRANTS}/{grant_id}`,
    request: { params: Path },
    responses: replies(GrantSchema, 'The grant.'),
  });
  app.openapi(get, async (c) => {
    const { ledger } = await now(c);
    const row = await getGrant(store.db, c.get('principal').organizationId, c.req.valid('param').grant_id);
    return c.json(grantObject(row, ledger.grants), 200);
  });

  const revoke = createRoute({
    ...common,
    method: 'post',
    path: `${GRANTS}/{grant_id}/revoke`,
    request: { params: Path },
    responses: replies(GrantSchema, 'The grant, with what was left of it taken away.'),
  });
  app.openapi(revoke, async (c) => {
    const by = attribution(c, clock);
    const { grant_id: id } = c.req.valid('param');
    const row = await store.write((tx) => revokeGrant(store, tx, by, id));
    return c.json(grantObject(row, []), 200);
  });

  return app;
}

function creditsObject({ billing, declaredAt, available, reserved, ledger, nextExpiry }: Standing) {
  const next = ledger.grants.filter(
    ({ status, expiresAt }) => status === 'active' && expiresAt === nextExpiry,
  );
  return {
    object: 'keygate.credits' as const,
    billing,
    declared_at: secondsOrNull(declaredAt),
    currency: 'USD' as const,
    available: dollarsOf(available),
    reserved: dollarsOf(reserved),
    next_expiry:
      nextExpiry === null
        ? null
        : { at: seconds(nextExpiry), amount: dollarsOf(next.reduce((sum, each) => sum + leftOf(each), 0n)) },
  };
}

/** As it is with everything charged that is settled (`current`), which the row learns when the next grant begins or ends. */
function grantObject(row: CreditGrantTable, current: readonly Grant[]) {
  const grant = current.find(({ id }) => id === row.id) ?? grantOf(row);
  return {
    object: 'keygate.credit_grant' as const,
    id: row.id,
    amount: nanoToCents(grant.amount),
    currency: 'USD' as const,
    used: dollarsOf(grant.used),
    left: dollarsOf(leftOf(grant)),
    expired: dollarsOf(grant.taken),
    status: grant.status,
    note: row.note,
    reference: row.reference,
    created_at: seconds(row.created_at),
    expires_at: secondsOrNull(row.expires_at),
    ended_at: secondsOrNull(grant.endedAt),
  };
}
