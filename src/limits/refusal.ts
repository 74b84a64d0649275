// A refusal in the published words: 429, the error's type, code and message, and the headers that say when to retry.
//
// Observed messages: "Rate limit reached for M in organization org-X on requests per min (RPM): Limit 3, Used 3,
// Requested 1. Please try again in 20s." and "Request too large for M in organization org-X on tokens per min (TPM):
// Limit 30000, Requested 30601. The input or output tokens must be reduced in order to run successfully."
// Ours add, in brackets after the organization, which limit it was when it is not the organization's for the model.

import { ApiError, unavailable } from '../platform/errors.ts';
import { goDuration } from './duration.ts';
import { rateLimitHeaders } from './headers.ts';
import { type Level, levelOf, type Refusal, Standing } from './limiter.ts';
import { BATCH_TOKENS, type Demand, IMAGES, type Pool, TOKENS } from './model.ts';

/** A call that some pools have no room for. `used` of a pool is in its units, before the call. */
export class LimitRefusal implements Refusal {
  readonly admitted = false;
  readonly demand: Demand;
  readonly standing: Standing;
  readonly refusedBy: Level[] = [];
  reason: 'limit' | 'too_large' = 'limit';
  pool: Pool | null = null;
  waitMs = 0;
  private level: Level | null = null;

  constructor(demand: Demand, standing: Standing) {
    this.demand = demand;
    this.standing = standing;
  }

  /** This pool has no room. The one named to the caller is one that can never pass, else the longest wait. */
  add(pool: Pool, used: number): void {
    const requested = this.demand.amounts[pool.quantity];
    const wait = pool.rate.waitMs(used, requested);
    const never = requested > pool.rate.largest;
    const level = levelOf(pool, used);
    this.refusedBy.push(level);
    if (this.pool !== null && (never ? this.reason === 'too_large' : wait <= this.waitMs)) return;
    this.pool = pool;
    this.level = level;
    this.waitMs = wait;
    if (never) this.reason = 'too_large';
  }

  error(): ApiError {
    const { pool, level } = this;
    if (pool === null || level === null)
      return unavailable('The rate limits could not be checked. Try again.');
    const { facts } = pool.line;
    if (facts.quantity === BATCH_TOKENS)
      return new ApiError(429, this.queueMessage(level), {
        type: facts.type,
        code: 'token_limit_exceeded',
        headers: ['x-should-retry', 'false'],
      });
    const requested = this.demand.amounts[facts.quantity];
    const where = `${this.demand.model ?? 'this operation'} in organization ${this.demand.organizationId}${which(pool)} on ${facts.label}`;
    const headers = rateLimitHeaders(this.standing);
    if (this.reason === 'too_large') {
      headers.push('x-should-retry', 'false');
      return new ApiError(
        429,
        `Request too large for ${where}: Limit ${level.limit}, Requested ${requested}. ${advice(pool)}`,
        {
          type: facts.type,
          code: 'rate_limit_exceeded',
          headers,
        },
      );
    }
    headers.push(
      'retry-after',
      String(Math.max(1, Math.ceil(this.waitMs / 1000))),
      'retry-after-ms',
      String(this.waitMs),
    );
    return new ApiError(
      429,
      `Rate limit reached for ${where}: Limit ${level.limit}, Used ${level.used}, Requested ${requested}. Please try again in ${goDuration(this.waitMs)}.`,
      { type: facts.type, code: 'rate_limit_exceeded', headers },
    );
  }

  /** The published message of a batch that does not fit into the queue; only the end of other batches makes room. */
  private queueMessage({ pool, limit }: Level): string {
    const many = limit.toLocaleString('en-US');
    return `Enqueued token limit reached for ${this.demand.model ?? 'batches'} in organization ${this.demand.organizationId}${which(pool)}. Limit: ${many} enqueued tokens. Please try again once some in_progress batches have been completed.`;
  }
}

/** The limits could not be asked, and the configuration says that no call passes without them. */
export class UnavailableRefusal implements Refusal {
  readonly admitted = false;
  readonly demand: Demand;
  readonly standing = new Standing();
  readonly reason = 'unavailable';
  readonly pool = null;
  readonly waitMs: number;
  readonly refusedBy: readonly Level[] = [];
  private readonly why: string;

  constructor(demand: Demand, why: string, waitMs: number) {
    this.demand = demand;
    this.why = why;
    this.waitMs = waitMs;
  }

  error(): ApiError {
    return unavailable(this.why, Math.max(1, Math.ceil(this.waitMs / 1000)));
  }
}

/** Which limit it was, when it is not the organization's own for this one model. */
function which({ subject, line }: Pool): string {
  const said: string[] = [];
  if (subject.scope === 'project') said.push(`project ${subject.id}`);
  else if (subject.scope === 'service_account') said.push(`service account ${subject.id}`);
  else if (subject.scope === 'api_key') said.push(`API key ${subject.id}`);
  else if (subject.scope === 'end_user') said.push('end user');
  if (line.cover === 'group') said.push(`shared limit ${line.name}`);
  else if (line.cover === 'long_context') said.push(`long-context limit ${line.name}`);
  else if (line.cover === 'all') said.push('all models together');
  return said.length === 0 ? '' : ` (${said.join(', ')})`;
}

function advice({ line, rate }: Pool): string {
  if (rate.amount === 0) return 'This limit lets nothing through; ask an administrator to raise it.';
  if (line.facts.quantity === TOKENS) {
    return 'The input or output tokens must be reduced in order to run successfully.';
  }
  if (line.facts.quantity === IMAGES)
    return 'The number of images must be reduced in order to run successfully.';
  return 'The request must be reduced in order to run successfully.';
}
