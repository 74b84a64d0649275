// Reserve: can everything that this call will owe be borne? Today that is its record: a place in the journal of usage
// events is taken before the call is forwarded, so that no call is made which could not be metered.

import { unavailable } from '../platform/errors.ts';
import type { Journal } from '../spend/journal.ts';
import type { Call } from './call.ts';
import type { Verdict } from './verdict.ts';

export function reserve(call: Call, journal: Journal): Verdict {
  if (call.operation?.served === 'here') return null;
  if (!journal.take()) {
    return unavailable(
      'Usage cannot be recorded fast enough at the moment, and unmetered calls are not made. Please try again.',
      2,
    );
  }
  call.reserved = true;
  return null;
}

/** Gives the place back when the call ends before it was forwarded. */
export function unreserve(call: Call, journal: Journal): void {
  if (!call.reserved) return;
  call.reserved = false;
  journal.release();
}
