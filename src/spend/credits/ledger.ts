// The rules of prepaid credits, without input or output.
//
// An organization's credits are one hard budget over all time: its limit is what was granted, less what expired or was
// revoked, and escrow keeps spend within it as within any other. Here is what moves the limit, and which grant pays.
//
//   Who pays. Spend is charged when it is settled, to the grant that expires first among those that hold then; grants
//   without an expiry come last, and of two that expire together the older pays. The order only matters when a grant
//   begins or ends, so grants are charged then, for all that was settled since the last time.
//   Expiry. What is left of a grant when its time comes is taken away, once. Calls that are under way then are finished:
//   the grants that still hold pay for them, and where these do not bear it, the one that ended, out of what was taken
//   and up to what was under way (`honours`). Nothing new is admitted on that money.
//   More than was granted. Only if a provider bills more than the bound of a call can spend pass the credits. That is
//   owed: the next grant pays it first.
//
// What always holds: of every grant, amount = used + taken + left, none of them below 0; and
//   limit = charged + the sum of what is left
// so that limit - settled is what can still be spent.

export interface Grant {
  readonly id: string;
  /** Nano-dollars, all of them. */
  readonly amount: bigint;
  readonly used: bigint;
  readonly taken: bigint;
  readonly honours: bigint;
  readonly status: 'active' | 'used' | 'expired' | 'revoked';
  readonly createdAt: number;
  /** Milliseconds since the epoch; null: never. */
  readonly expiresAt: number | null;
  readonly endedAt: number | null;
}

/** What an organization's credits are at one moment. */
export interface Ledger {
  readonly grants: readonly Grant[];
  /** Of what is settled, how much the grants were charged. */
  readonly charged: bigint;
}

export function leftOf({ amount, used, taken }: Grant): bigint {
  return amount - used - taken;
}

/** The limit of the budget that the credits are. */
export function limitOf({ grants, charged }: Ledger): bigint {
  return grants.reduce((sum, grant) => sum + leftOf(grant), charged);
}

/** When the next grant expires that something is left of; null: none does. */
export function nextExpiry({ grants }: Ledger): number | null {
  const times = grants.flatMap(({ status, expiresAt }) =>
    status === 'active' && expiresAt !== null ? [expiresAt] : [],
  );
  return times.length === 0 ? null : Math.min(...times);
}

/** Charges what was settled since the last time. */
export function charge(ledger: Ledger, settled: bigint, atMs: number): Ledger {
  let due = settled - ledger.charged;
  if (due <= 0n) return ledger;
  const paid = new Map<string, Grant>();
  for (const grant of ledger.grants.filter(({ status }) => status === 'active').toSorted(byExpiry)) {
    const part = due < leftOf(grant) ? due : leftOf(grant);
    due -= part;
    const used = { ...grant, used: grant.used + part };
    paid.set(grant.id, leftOf(used) === 0n ? { ...used, status: 'used', endedAt: atMs } : used);
  }
  // What was under way when a grant ended, and finds no other: the one that ended last pays first.
  const ended = ledger.grants.filter(({ honours }) => honours > 0n);
  for (const grant of ended.toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0))) {
    const part = due < grant.honours ? due : grant.honours;
    due -= part;
    paid.set(grant.id, {
      ...grant,
      used: grant.used + part,
      taken: grant.taken - part,
      honours: grant.honours - part,
    });
  }
  return { grants: ledger.grants.map((grant) => paid.get(grant.id) ?? grant), charged: settled - due };
}

/**
 * Ends every grant whose time has come.
 * @param settled what is settled in the budget
 * @param committed what is settled or may be: calls under way, and slices that nodes hold
 */
export function endDue(ledger: Ledger, settled: bigint, committed: bigint, now: number): Ledger {
  const due = (grant: Grant): boolean =>
    grant.status === 'active' && grant.expiresAt !== null && grant.expiresAt <= now;
  if (!ledger.grants.some(due)) return ledger;
  return end(charge(ledger, settled, now), due, 'expired', committed - settled, now);
}

/** Ends one grant by hand; the ledger as it is if there is no such grant that holds. */
export function revoke(ledger: Ledger, id: string, settled: bigint, committed: bigint, now: number): Ledger {
  const meant = (grant: Grant): boolean => grant.id === id && grant.status === 'active';
  return end(charge(ledger, settled, now), meant, 'revoked', committed - settled, now);
}

function end(
  { grants, charged }: Ledger,
  which: (grant: Grant) => boolean,
  status: 'expired' | 'revoked',
  underWay: bigint,
  now: number,
): Ledger {
  let open = underWay;
  return {
    charged,
    grants: grants.map((grant) => {
      if (!which(grant)) return grant;
      const left = leftOf(grant);
      const honours = left < open ? left : open;
      open -= honours;
      return { ...grant, status, taken: grant.taken + left, honours, endedAt: now };
    }),
  };
}

function byExpiry(a: Grant, b: Grant): number {
  const first = (a.expiresAt ?? Number.POSITIVE_INFINITY) - (b.expiresAt ?? Number.POSITIVE_INFINITY);
  if (first !== 0 && !Number.isNaN(first)) return first;
  return a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1);
}
