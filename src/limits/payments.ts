// What an organization paid, as an administrator writes it down: it raises the usage tier. Money is nano-dollars here
// and cents at the API's edge.

import { beyond, cut, type Page, type PageRequest, unknownAfter } from '../access/page.ts';
import { invalidParameter } from '../access/validation.ts';
import { append } from '../audit/chain.ts';
import type { Attribution } from '../audit/model.ts';
import { newId, type OrganizationId } from '../platform/ids.ts';
import type { PaymentTable } from '../store/schema-limits.ts';
import type { Db, Store, Tx } from '../store/store.ts';
import { putStanding, readStanding, type Standing, settleTier } from './standing.ts';
import type { Tier } from './tables.ts';

export const NANO_A_CENT = 10_000_000n;

export interface NewPayment {
  /** Nano-dollars; negative for what was paid back. */
  readonly amount: bigint;
  /** When it was paid, in milliseconds since the epoch. */
  readonly paidAt: number;
  readonly note: string;
  readonly reference: string | null;
}

/**
 * Within a `write`: records a payment and raises the organization to what it reaches by it.
 * @throws ApiError 400 when more would be paid back than was paid, or the reference was recorded already
 */
export async function recordPayment(
  store: Pick<Store, 'announce'>,
  tx: Tx,
  by: Attribution,
  tiers: readonly Tier[],
  payment: NewPayment,
): Promise<{ readonly row: PaymentTable; readonly standing: Standing }> {
  const { amount, paidAt, note, reference } = payment;
  const { organizationId } = by;
  if (reference !== null) await refuseRepeated(tx, organizationId, reference);
  const before = await readStanding(tx, organizationId);
  const paidTotal = before.paidTotal + amount;
  if (paidTotal < 0n) {
    throw invalidParameter('amount_cents', 'More would be paid back than this organization has paid.');
  }
  const row: PaymentTable = {
    id: newId('pay_'),
    organization_id: organizationId,
    amount_nano: amount.toString(),
    at: paidAt,
    note,
    reference,
    created_at: by.at,
  };
  await tx.insertInto('payments').values(row).execute();
  await append(tx, {
    by,
    projectId: null,
    type: 'payment.recorded',
    payload: { id: row.id, data: { amount_nano: row.amount_nano, paid_at: paidAt, note, reference } },
  });
  const first = before.firstPaymentAt;
  const firstPaymentAt = amount > 0n && (first === null || paidAt < first) ? paidAt : first;
  await putStanding(store, tx, { ...before, paidTotal, firstPaymentAt }, by.at);
  return { row, standing: await settleTier(store, tx, by, tiers, 'payment') };
}

async function refuseRepeated(tx: Tx, organizationId: OrganizationId, reference: string): Promise<void> {
  const known = await tx
    .selectFrom('payments')
    .select('id')
    .where('organization_id', '=', organizationId)
    .where('reference', '=', reference)
    .executeTakeFirst();
  if (known !== undefined) {
    throw invalidParameter('reference', `A payment with this reference is recorded already: ${known.id}.`);
  }
}

/** The organization's payments in the order in which they were recorded. */
export async function listPayments(
  db: Db,
  organizationId: OrganizationId,
  page: PageRequest,
): Promise<Page<PaymentTable>> {
  let query = db.selectFrom('payments').selectAll().where('organization_id', '=', organizationId);
  if (page.after !== undefined) {
    const place = await db
      .selectFrom('payments')
      .select(['id', 'created_at'])
      .where('organization_id', '=', organizationId)
      .where('id', '=', page.after)
      .executeTakeFirst();
    if (place === undefined) throw unknownAfter();
    query = query.where(beyond('payments', place, page.order ?? 'asc'));
  }
  const order = page.order ?? 'asc';
  const rows = await query
    .orderBy('created_at', order)
    .orderBy('id', order)
    .limit(page.limit + 1)
    .execute();
  return cut(rows, page.limit);
}
