// What a limit is: the dimensions that are counted, whose they are, and the pools that a call draws on.

import type { KeyId, OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Rate } from './bucket.ts';
import { fingerprint } from './fingerprint.ts';

export const MINUTE_MS = 60_000;
export const DAY_MS = 86_400_000;

/** What is counted. The numbers index `Demand.amounts`. */
export const REQUESTS = 0;
export const TOKENS = 1;
export const IMAGES = 2;
export const AUDIO_SECONDS = 3;
export const BATCH_TOKENS = 4;
export type Quantity = 0 | 1 | 2 | 3 | 4;

export interface DimensionFacts {
  readonly quantity: Quantity;
  /** 0: held until given back, not refilled by time. */
  readonly periodMs: number;
  /** As the published messages name it. */
  readonly label: string;
  /** The `type` of the published error. */
  readonly type: string;
  /** A short name, for storage keys and tables. */
  readonly short: string;
}

/** The dimensions of the published API and its console, under the names that a table of limits uses. */
export const DIMENSIONS = {
  requests_per_minute: fact(REQUESTS, MINUTE_MS, 'requests per min (RPM)', 'requests', 'rpm'),
  requests_per_day: fact(REQUESTS, DAY_MS, 'requests per day (RPD)', 'requests', 'rpd'),
  tokens_per_minute: fact(TOKENS, MINUTE_MS, 'tokens per min (TPM)', 'tokens', 'tpm'),
  tokens_per_day: fact(TOKENS, DAY_MS, 'tokens per day (TPD)', 'tokens', 'tpd'),
  images_per_minute: fact(IMAGES, MINUTE_MS, 'images per min (IPM)', 'images', 'ipm'),
  audio_seconds_per_minute: fact(AUDIO_SECONDS, MINUTE_MS, 'audio seconds per min', 'audio_seconds', 'apm'),
  batch_tokens: fact(BATCH_TOKENS, 0, 'enqueued batch tokens', 'tokens', 'batch'),
} as const satisfies Record<string, DimensionFacts>;

function fact(
  quantity: Quantity,
  periodMs: number,
  label: string,
  type: string,
  short: string,
): DimensionFacts {
  return { quantity, periodMs, label, type, short };
}

export type Dimension = keyof typeof DIMENSIONS;
export const DIMENSION_NAMES = Object.keys(DIMENSIONS) as readonly Dimension[];

/** Whose limit it is. */
export type Scope = 'organization' | 'project' | 'service_account' | 'api_key' | 'end_user';

/** What a pool covers: one model, models that share it, one model's long calls, or every model together. */
export type Cover = 'model' | 'group' | 'long_context' | 'all';

/** A kind of pool: every organization (project, key, …) has at most one pool of each. */
export interface Line {
  /** The lines of one scope, cover and name are eight neighbours from a multiple of eight: their buckets lie together. */
  readonly id: number;
  readonly scope: Scope;
  readonly cover: Cover;
  /** The model's, group's or long-context pool's name; `all` for every model together. */
  readonly name: string;
  readonly dimension: Dimension;
  readonly facts: DimensionFacts;
  /** As it stands in storage keys: `tpm:model:gpt-4o`. */
  readonly text: string;
}

/** More names than this share one pool, so that a caller who invents model names cannot grow memory. */
const MAX_NAMES = 20_000;
const names = new Map<string, { readonly first: number; readonly lines: Partial<Record<Dimension, Line>> }>();

/** The line of that scope, cover, name and dimension. Kept for good; bounded. */
export function lineOf(scope: Scope, cover: Cover, name: string, dimension: Dimension): Line {
  const key = `${scope}:${cover}:${name}`;
  let known = names.get(key);
  if (known === undefined) {
    if (names.size >= MAX_NAMES && name !== '*') return lineOf(scope, cover, '*', dimension);
    known = { first: names.size * 8, lines: {} };
    names.set(key, known);
  }
  const line: Line = known.lines[dimension] ?? {
    id: known.first + DIMENSION_NAMES.indexOf(dimension),
    scope,
    cover,
    name,
    dimension,
    facts: DIMENSIONS[dimension],
    text: `${DIMENSIONS[dimension].short}:${cover}:${name}`,
  };
  known.lines[dimension] = line;
  return line;
}

/** Who a pool belongs to, and the two halves of its 64-bit fingerprint. */
export interface Subject {
  readonly scope: Scope;
  /** The organization's, project's, service account's or key's id; for an end user, `project id:end user`. */
  readonly id: string;
  /** The organization that it is in: all pools of one call have the same. */
  readonly organizationId: string;
  readonly high: number;
  readonly low: number;
}

export function subjectOf(scope: Scope, id: string, organizationId: string): Subject {
  const [high, low] = fingerprint(`${scope}:${id}`);
  return { scope, id, organizationId, high, low };
}

/** One bucket of somebody's: whose it is, what it counts, and its limit. */
export class Pool {
  readonly subject: Subject;
  readonly line: Line;
  readonly rate: Rate;
  /** The subject's fingerprint and what is counted, here too: each look elsewhere is a miss of the cache. */
  readonly high: number;
  readonly low: number;
  readonly lineId: number;
  readonly quantity: Quantity;

  constructor(subject: Subject, line: Line, rate: Rate) {
    this.subject = subject;
    this.line = line;
    this.rate = rate;
    this.high = subject.high;
    this.low = subject.low;
    this.lineId = line.id;
    this.quantity = line.facts.quantity;
  }
}

/** A call, as far as limits care. Counts are whole and not negative. */
export interface LimitedCall {
  readonly requestId: string;
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly keyId: KeyId;
  readonly ownerType: 'user' | 'service_account';
  readonly ownerId: string;
  /** `safety_identifier` or `user` of the call; null when it names none. */
  readonly endUser: string | null;
  /** Null for an operation without a model: only limits on all models together apply. */
  readonly model: string | null;
  readonly prompt: TokenEstimate;
  /** The most tokens of one reply, as the call states it; null when it states none: the table's usual is taken. */
  readonly replyTokens: number | null;
  /** How many replies are asked for. */
  readonly choices: number;
  readonly images: number;
  readonly audioSeconds: number;
  /**
   * Counts the prompt exactly. Asked at most once a call, and only where the estimate is too near a bound to decide;
   * it answers exactly once, at once or later. Without it the estimate decides.
   */
  readonly countPrompt?: (done: (tokens: number) => void) => void;
}

/** How many tokens a prompt has, as far as its size tells. */
export interface TokenEstimate {
  readonly low: number;
  readonly likely: number;
  readonly high: number;
}

/** What one call asks of its pools. */
export interface Demand {
  readonly requestId: string;
  readonly organizationId: string;
  readonly model: string | null;
  /** Every pool at most once. */
  readonly pools: readonly Pool[];
  /** By quantity. A pool whose quantity is 0 here is only looked at. */
  readonly amounts: Amounts;
}

/** Requests, tokens, images, audio seconds, enqueued batch tokens: whole, not negative. */
export type Amounts = readonly [number, number, number, number, number];
