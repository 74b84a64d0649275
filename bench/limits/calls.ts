// The memory limiter, call by call: admit and settle for a call that touches eight pools.

import { rateLimitHeaders } from '../../src/limits/headers.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import type { LimitedCall } from '../../src/limits/model.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { parseTables } from '../../src/limits/tables.ts';
import { systemClock } from '../../src/platform/clock.ts';
import type { KeyId, OrganizationId, ProjectId } from '../../src/platform/ids.ts';
import { microseconds, type Row } from './row.ts';

const minute = { requests_per_minute: 1_000_000_000, tokens_per_minute: 10_000_000_000 };
const day = { requests_per_day: 100_000_000_000, tokens_per_day: 1_000_000_000_000 };
export const eightPools = parseTables({
  tiers: [{ name: 'only', limits: { '*': { ...minute, ...day } } }],
  projects: { '*': { '*': minute } },
  api_keys: { '*': { all: minute } },
  end_users: { proj_with_users: { all: { requests_per_minute: 1_000 } } },
});

export function callOf(key: number, endUser: string | null = null): LimitedCall {
  return {
    requestId: 'req_00000000000000000000000000000000',
    // The one place where the bench makes up ids.
    organizationId: 'org-bench' as OrganizationId,
    projectId: (endUser === null ? `proj_${key >> 4}` : 'proj_with_users') as ProjectId,
    keyId: `key_${key}` as KeyId,
    ownerType: 'user',
    ownerId: 'user-1',
    endUser,
    model: 'gpt-4o',
    prompt: { low: 100, likely: 200, high: 400 },
    replyTokens: 1000,
    choices: 1,
    images: 0,
    audioSeconds: 0,
  };
}

export function measureCalls(scale: number): Row[] {
  const times = Math.round(1_000_000 * scale);
  const limiter = new MemoryLimiter({ clock: systemClock });
  const limits = new RateLimits({ tables: eightPools, limiter, clock: systemClock });
  const later = (): never => {
    throw new Error('the memory limiter answers at once');
  };
  const run = (call: LimitedCall, headers: boolean): void => {
    const verdict = limits.admit(call, later);
    if (verdict === undefined || !verdict.admitted) throw new Error('refused');
    if (headers && rateLimitHeaders(verdict.standing).length === 0) throw new Error('no headers');
    limits.settle(verdict, { tokens: 700 });
  };

  const one = callOf(1);
  const pools = limits.poolsOf(one).length;
  if (pools !== 8) throw new Error(`the table gives ${pools} pools`);
  const alone = microseconds(times, () => run(one, false));
  const withHeaders = microseconds(times, () => run(one, true));

  const callers = Array.from({ length: 10_000 }, (_, i) => {
    const { keyId, projectId } = callOf(i);
    return { keyId, projectId };
  });
  const spread = microseconds(times, (i) => {
    const caller = callers[(i * 7919) % callers.length];
    if (caller !== undefined) run({ ...one, keyId: caller.keyId, projectId: caller.projectId }, false);
  });

  const users = callOf(2, 'user-00000000');
  const named = microseconds(times, (i) => run({ ...users, endUser: `user-${i & 0xffff}` }, true));

  const tight = new RateLimits({
    tables: parseTables({ tiers: [{ name: 'only', limits: { '*': { ...minute, requests_per_day: 1 } } }] }),
    limiter,
    clock: systemClock,
  });
  tight.admit(one, later);
  const refused = microseconds(Math.round(times / 5), () => {
    const verdict = tight.admit(one, later);
    if (verdict === undefined || verdict.admitted) throw new Error('admitted');
    verdict.error();
  });

  return [
    { what: 'memory: admit + settle, 8 pools, one caller', value: alone, unit: 'µs', goal: '< 3' },
    { what: 'memory: the same with its headers', value: withHeaders, unit: 'µs' },
    {
      what: 'memory: admit + settle, 8 pools, 10,000 callers in turn',
      value: spread,
      unit: 'µs',
      goal: '< 3',
    },
    { what: 'memory: 65,536 end users in turn, 9 pools, with headers', value: named, unit: 'µs' },
    { what: 'memory: a refusal with its message and headers', value: refused, unit: 'µs' },
  ];
}
