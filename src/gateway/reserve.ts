// Reserve: can everything that this call will owe be borne? Its record: a place in the journal of usage events is taken
// before the call is forwarded, so that no call is made which could not be metered. And its cost: where budgets apply,
// the most that it can cost is reserved in all of them (src/spend/spending.ts). While there is no budget, the second is
// one branch.

import { ApiError, unavailable } from '../platform/errors.ts';
import { ObjectScan, standsTwice } from '../platform/json-scan.ts';
import type { Journal } from '../spend/journal.ts';
import type { Reserved, Spending } from '../spend/spending.ts';
import type { Call } from './call.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

export function reserve(call: Call, journal: Journal, spending: Spending, resume: Resume): Verdict {
  if (call.operation?.served === 'here') return null;
  const { json, text } = call;
  call.json = null;
  call.text = '';
  if (!journal.take()) {
    return unavailable(
      'Usage cannot be recorded fast enough at the moment, and unmetered calls are not made. Please try again.',
      2,
    );
  }
  call.reserved = true;
  return spending.active ? reserveCost(call, json, text, spending, resume) : null;
}

/** Gives back what was taken for a call that ends before it was forwarded. */
export function unreserve(call: Call, journal: Journal, spending: Spending): void {
  const { reservation } = call;
  call.reservation = null;
  if (reservation !== null) spending.release(reservation);
  if (!call.reserved) return;
  call.reserved = false;
  journal.release();
}

function reserveCost(
  call: Call,
  json: Call['json'],
  text: string,
  spending: Spending,
  resume: Resume,
): Verdict {
  const { caller, route, meter, asked } = call;
  // A test key's calls go to the sandbox and cost nothing; so does what no provider bills.
  if (caller === null || route === null || caller.type === 'test') return null;
  if (meter === 'none' || meter === 'moderations') return null;
  if (json !== null && call.body !== null && isAmbiguous(call.body, text, json)) {
    return new ApiError(
      400,
      'The JSON body says twice how large the call may be: it could be read in two ways.',
    );
  }
  const reserved = spending.reserve(
    {
      organizationId: caller.organizationId,
      projectId: caller.project.id,
      keyId: caller.keyId,
      serviceAccountId: caller.ownerType === 'service_account' ? caller.ownerId : null,
      groupIds: caller.groups,
      endUser: asked.endUser,
      stream: asked.stream,
      at: call.at,
      body: {
        meter,
        json,
        size: asked.size,
        files: asked.files,
        fileBytes: asked.fileBytes,
        characters: asked.characters,
      },
      targets: route.targets,
    },
    (later) => resume(call, take(call, later, spending)),
  );
  return reserved === undefined ? LATER : take(call, reserved, spending);
}

/** Members on which the cost of a call hangs. */
const COSTS: readonly string[] = [
  'max_completion_tokens',
  'max_tokens',
  'max_output_tokens',
  'n',
  'best_of',
  'service_tier',
  'max_tool_calls',
];
const COSTS_SET: ReadonlySet<string> = new Set(COSTS);

const COSTS_QUOTED = COSTS.map((name) => `"${name}"`);

/**
 * Whether one of them stands twice: keygate would go by the last, and a provider perhaps by the first. A body in which
 * those that are there stand once, anywhere, is not looked at byte by byte.
 */
function isAmbiguous(body: Buffer, text: string, json: Readonly<Record<string, unknown>>): boolean {
  let plain = !text.includes('\\u');
  for (let i = 0; plain && i < COSTS.length; i++) {
    if (json[COSTS[i] ?? ''] === undefined) continue;
    plain = !standsTwice(text, COSTS_QUOTED[i] ?? '');
  }
  return !plain && !(ObjectScan.over(body, Number.POSITIVE_INFINITY, COSTS_SET) instanceof ObjectScan);
}

function take(call: Call, reserved: Reserved, spending: Spending): ApiError | null {
  if (reserved === null || reserved instanceof ApiError) return reserved;
  // The caller may have gone while the call waited for its budgets.
  if (call.over) spending.release(reserved);
  else call.reservation = reserved;
  return null;
}
