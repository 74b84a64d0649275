// Admit: is there room for one more call? Two things are asked, and both are taken before the call is forwarded and
// given back when it is settled: the calls that this process has under way at once, and every rate limit that the
// call draws on (src/limits), all of them or none.

import type { Bounds } from '../config/model.ts';
import { rateLimitLines } from '../limits/headers.ts';
import { TEST_MODEL } from '../limits/known-models.ts';
import type { Verdict as LimitVerdict } from '../limits/limiter.ts';
import type { LimitedCall } from '../limits/model.ts';
import type { RateLimits } from '../limits/rate-limits.ts';
import { type ApiError, unavailable } from '../platform/errors.ts';
import type { TokenCounter } from '../spend/count.ts';
import type { Usage } from '../spend/usage.ts';
import type { Call } from './call.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

export class Admission {
  /** Calls that were admitted and are not settled yet. */
  underway = 0;
  /** Calls that found no room in this process. */
  refused = 0;
  readonly #most: number;
  readonly #limits: RateLimits;
  readonly #counter: TokenCounter;

  constructor(bounds: Bounds, limits: RateLimits, counter: TokenCounter) {
    this.#most = bounds.inFlight;
    this.#limits = limits;
    this.#counter = counter;
  }

  admit(call: Call, resume: Resume): Verdict {
    if (this.underway >= this.#most) {
      this.refused++;
      return unavailable(
        `This server is at its limit of ${this.#most} calls at once. Please try again in a moment.`,
      );
    }
    this.underway++;
    call.admitted = true;
    // A batch's lines draw on the batch queue, where they were admitted together.
    if (call.operation?.served === 'here' || call.order !== null) return null;
    const verdict = this.#limits.admit(this.#limited(call), (later) => resume(call, this.#take(call, later)));
    return verdict === undefined ? LATER : this.#take(call, verdict);
  }

  #limited(call: Call): LimitedCall {
    const { caller, asked } = call;
    if (caller === null) throw new Error('admit before authorize');
    return {
      requestId: call.id,
      organizationId: caller.organizationId,
      projectId: caller.project.id,
      keyId: caller.keyId,
      ownerType: caller.ownerType,
      ownerId: caller.ownerId,
      endUser: asked.endUser,
      model: caller.type === 'test' ? TEST_MODEL : asked.model,
      prompt: asked.size.prompt,
      replyTokens: asked.size.replyTokens,
      choices: asked.size.choices,
      images: asked.size.images,
      audioSeconds: asked.size.audioSeconds,
      countPrompt: (done) => this.#count(call, done),
    };
  }

  #count(call: Call, done: (tokens: number) => void): void {
    const { body, asked } = call;
    if (body === null) return done(asked.size.prompt.likely);
    this.#counter.count('request-json', body, asked.model ?? '').then(
      ({ tokens }) => done(tokens),
      () => done(asked.size.prompt.likely),
    );
  }

  #take(call: Call, verdict: LimitVerdict): ApiError | null {
    if (!verdict.admitted) return verdict.error();
    // The caller may have gone while the limits were asked.
    if (call.over) {
      this.#limits.release(verdict);
      return null;
    }
    call.allowance = verdict;
    call.limitLines = rateLimitLines(verdict.standing);
    return null;
  }

  /** The call is over. @param used what it used, or null if it was not sent to a provider */
  release(call: Call, used: Usage | null): void {
    if (!call.admitted) return;
    call.admitted = false;
    this.underway--;
    const { allowance } = call;
    call.allowance = null;
    if (allowance === null) return;
    if (used === null) this.#limits.release(allowance);
    else {
      this.#limits.settle(allowance, {
        tokens: used.input + used.output,
        images: used.images,
        // A provider that counts audio in tokens does not say how long it was: what was reserved stays.
        ...(used.audioMs === 0 && used.input > 0 ? {} : { audioSeconds: Math.ceil(used.audioMs / 1000) }),
      });
    }
  }
}
