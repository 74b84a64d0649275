// What a step of the road says: go on, stop with this refusal, or wait until the call is resumed.

import type { ApiError } from '../platform/errors.ts';

/** The step has begun something and will have the call resumed when it is done. */
export const LATER = Symbol('later');

/** Null: the call goes on to the next step. */
export type Verdict = ApiError | typeof LATER | null;
