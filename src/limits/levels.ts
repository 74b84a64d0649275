// The live view: the pools that somebody's calls draw on, and how full each is.

import type { Levels } from './limiter.ts';
import { BATCH_TOKENS, type Pool, type Scope } from './model.ts';
import type { RateLimits } from './rate-limits.ts';

/** Whose pools, and of which models. */
export interface View {
  readonly organizationId: string;
  /** Null: only the organization's own. */
  readonly projectId: string | null;
  readonly key: ViewedKey | null;
  readonly endUser: string | null;
  readonly models: readonly string[];
}

export interface ViewedKey {
  readonly id: string;
  readonly ownerType: 'user' | 'service_account';
  readonly ownerId: string;
}

/** Models looked at before others get their turn: a table of a thousand models takes some ten milliseconds. */
const MODELS_A_TURN = 50;

/** Every pool of the view once, the widest scope first for each model. */
export async function viewedPools(limits: RateLimits, view: View): Promise<Pool[]> {
  const { organizationId, projectId, key, endUser } = view;
  const scopes = new Set<Scope>(['organization']);
  if (projectId !== null) scopes.add('project');
  if (key !== null) scopes.add('api_key').add('service_account');
  if (endUser !== null) scopes.add('end_user');
  const nobody = {
    organizationId,
    projectId: projectId ?? '',
    keyId: key?.id ?? '',
    ownerType: key?.ownerType ?? 'user',
    ownerId: key?.ownerId ?? '',
    endUser,
  };
  const found = new Map<string, Pool>();
  for (const [index, model] of view.models.entries()) {
    if (index % MODELS_A_TURN === MODELS_A_TURN - 1) await new Promise(setImmediate);
    for (const long of [false, true]) {
      for (const pool of limits.poolsOf({ ...nobody, model }, long)) {
        if (scopes.has(pool.subject.scope)) found.set(`${pool.lineId}:${pool.subject.id}`, pool);
      }
    }
  }
  return [...found.values()];
}

/** The levels of pools; `unknown` when the server that keeps them cannot be asked. */
export function levelsOf(limits: RateLimits, pools: readonly Pool[]): Promise<Levels> {
  return new Promise((resolve) => {
    const levels = limits.levels(pools, resolve);
    if (levels !== undefined) resolve(levels);
  });
}

/** Fills the buckets of pools; what batches hold stays held. Returns how many buckets that were. */
export function refill(limits: RateLimits, pools: readonly Pool[]): number {
  const refilled = pools.filter(({ quantity }) => quantity !== BATCH_TOKENS);
  limits.refill(refilled);
  return refilled.length;
}
