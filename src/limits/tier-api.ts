// keygate's own routes for usage tiers: where the organization stands, the pin that wins over it, and the payments
// that raise it.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  IdSchema,
  jsonBody,
  newApp,
  replies,
  seconds,
  secondsOrNull,
  TimestampSchema,
} from '../access/http.ts';
import { listOf, listSchema, PageQuery } from '../access/page.ts';
import { invalidParameter } from '../access/validation.ts';
import type { PaymentTable } from '../store/schema-limits.ts';
import type { LimitsApiDeps } from './api.ts';
import type { LiveLimits } from './live.ts';
import { DAY_MS } from './model.ts';
import { listPayments, NANO_A_CENT, recordPayment } from './payments.ts';
import { pinTier, reachedTier } from './standing.ts';
import type { Tier } from './tables.ts';

const ORGANIZATION = '/v1/keygate/organization';
const tags = ['keygate usage tiers'];
/** A payment is at most ten billion dollars. */
const MOST_CENTS = 1_000_000_000_000;

const ThresholdsSchema = z.object({
  name: z.string(),
  paid_cents: z.int().openapi({ description: 'What has to be paid, since the beginning.' }),
  days: z.int().openapi({ description: 'Whole days that have to pass since the first payment.' }),
});

const StandingSchema = z
  .object({
    object: z.literal('keygate.usage_tier'),
    organization_id: IdSchema,
    tier: z.string().openapi({ description: 'The tier whose limits hold.' }),
    reached: z.string().openapi({ description: 'The tier that the organization reached by itself.' }),
    pinned: z.string().nullable(),
    pinned_by: z.enum(['administrator', 'configuration']).nullable(),
    paid_cents: z.int(),
    first_payment_at: TimestampSchema.nullable(),
    days: z.int().nullable().openapi({ description: 'Whole days since the first payment.' }),
    next: ThresholdsSchema.nullable().openapi({ description: 'The tier above the one that was reached.' }),
    tiers: z.array(ThresholdsSchema),
  })
  .openapi('UsageTier');

const PaymentSchema = z
  .object({
    object: z.literal('keygate.payment'),
    id: IdSchema,
    amount_cents: z.int(),
    paid_at: TimestampSchema,
    note: z.string(),
    reference: z.string().nullable(),
    created_at: TimestampSchema,
  })
  .openapi('Payment');

const line = (max: number) =>
  z
    .string()
    .trim()
    .max(max, `must be at most ${max} characters long`)
    .refine((text) => text.isWellFormed() && !/\p{Cc}/u.test(text), 'must not hold control characters');

const PaymentBody = z.strictObject({
  amount_cents: z
    .int('must be a whole number of cents')
    .min(-MOST_CENTS, `must be at least ${-MOST_CENTS}`)
    .max(MOST_CENTS, `must be at most ${MOST_CENTS}`)
    .refine((cents) => cents !== 0, 'must not be 0')
    .openapi({ description: 'US cents; negative for what was paid back.' }),
  paid_at: TimestampSchema.min(0).optional().openapi({ description: 'Now if left out.' }),
  note: line(512).default(''),
  reference: line(128)
    .min(1, 'must not be empty')
    .nullable()
    .default(null)
    .openapi({ description: "An invoice's number, for one: it is taken once." }),
});

const PinBody = z.strictObject({
  pin: z.string().min(1).max(64).nullable().openapi({ description: 'A tier of the table; null unpins.' }),
});

export function usageTierApi(deps: LimitsApiDeps, { admin }: Authentication): ControlApp {
  const { store, clock, live } = deps;
  const app = newApp();

  const get = createRoute({
    method: 'get',
    path: `${ORGANIZATION}/tier`,
    tags,
    middleware: [admin] as const,
    responses: replies(StandingSchema, 'Where the organization stands.'),
  });
  app.openapi(get, (c) => c.json(standingObject(live, c.get('principal').organizationId, clock.now()), 200));

  const pin = createRoute({
    method: 'post',
    path: `${ORGANIZATION}/tier`,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(PinBody) },
    responses: replies(StandingSchema, 'Where the organization stands now.'),
  });
  app.openapi(pin, async (c) => {
    const { pin: wanted } = c.req.valid('json');
    const names = live.tables.tiers.map(({ name }) => name);
    if (wanted !== null && !names.includes(wanted)) {
      throw invalidParameter('pin', `Invalid 'pin': the table has the tiers ${names.join(', ')}.`);
    }
    const by = attribution(c, clock);
    await store.write((tx) => pinTier(store, tx, by, wanted));
    return c.json(standingObject(live, by.organizationId, by.at), 200);
  });

  const record = createRoute({
    method: 'post',
    path: `${ORGANIZATION}/payments`,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(PaymentBody) },
    responses: replies(PaymentSchema, 'The payment; the organization is in the tier that it reaches by it.'),
  });
  app.openapi(record, async (c) => {
    const { amount_cents: cents, paid_at: at, note, reference } = c.req.valid('json');
    const by = attribution(c, clock);
    const paidAt = at === undefined ? by.at : at * 1000;
    if (paidAt > by.at) throw invalidParameter('paid_at', "'paid_at' is in the future.");
    const payment = { amount: BigInt(cents) * NANO_A_CENT, paidAt, note, reference };
    const { tiers } = live.tables;
    const { row } = await store.write((tx) => recordPayment(store, tx, by, tiers, payment));
    return c.json(paymentObject(row), 200);
  });

  const list = createRoute({
    method: 'get',
    path: `${ORGANIZATION}/payments`,
    tags,
    middleware: [admin] as const,
    request: { query: PageQuery.extend({ order: z.enum(['asc', 'desc']).default('asc') }) },
    responses: replies(listSchema(PaymentSchema), "The organization's payments, as they were recorded."),
  });
  app.openapi(list, async (c) => {
    const { organizationId } = c.get('principal');
    const { rows, hasMore } = await listPayments(store.db, organizationId, c.req.valid('query'));
    return c.json(listOf(rows.map(paymentObject), hasMore), 200);
  });

  return app;
}

function standingObject(
  live: LiveLimits,
  organizationId: string,
  now: number,
): z.infer<typeof StandingSchema> {
  const { tiers } = live.tables;
  const standing = live.standing(organizationId);
  const reached = live.tierOf(organizationId) ?? reachedTier(tiers, standing, now).name;
  const above = tiers[tiers.findIndex(({ name }) => name === reached) + 1];
  const pinned = live.tables.organizations.get(organizationId)?.tier ?? null;
  const { firstPaymentAt } = standing;
  return {
    object: 'keygate.usage_tier',
    organization_id: organizationId,
    tier: live.tierNow(organizationId),
    reached,
    pinned,
    pinned_by: pinned === null ? null : standing.pinned === pinned ? 'administrator' : 'configuration',
    paid_cents: Number(standing.paidTotal / NANO_A_CENT),
    first_payment_at: secondsOrNull(firstPaymentAt),
    days: firstPaymentAt === null ? null : Math.max(0, Math.floor((now - firstPaymentAt) / DAY_MS)),
    next: above === undefined ? null : thresholds(above),
    tiers: tiers.map(thresholds),
  };
}

function thresholds({ name, paid, days }: Tier): z.infer<typeof ThresholdsSchema> {
  return { name, paid_cents: Number(paid / NANO_A_CENT), days };
}

function paymentObject(row: PaymentTable): z.infer<typeof PaymentSchema> {
  return {
    object: 'keygate.payment',
    id: row.id,
    amount_cents: Number(BigInt(row.amount_nano) / NANO_A_CENT),
    paid_at: seconds(row.at),
    note: row.note,
    reference: row.reference,
    created_at: seconds(row.created_at),
  };
}
