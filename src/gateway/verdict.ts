// What a step of the road says: go on, stop with this refusal, or wait until the call is resumed.

import type { ApiError } from '../platform/errors.ts';
import type { Call } from './call.ts';

/** The step has begun something and will have the call resumed when it is done. */
export const LATER = Symbol('later');

/** Null: the call goes on to the next step. */
export type Verdict = ApiError | typeof LATER | null;

/** What a step that said LATER calls when it is done; null: the call goes on. */
export type Resume = (call: Call, refusal: ApiError | null) => void;

/** The number of the step that sends a call to a provider: from here on it is settled and recorded, come what may. */
export const FORWARD = 6;
