// Settle: what did the call really use? What was held is given back. A call that the provider will bill is never
// lost: a cut stream and a vanished caller are counted too, by a tokenizer where the provider said nothing.

import type { TokenCounter } from '../spend/count.ts';
import type { Meter } from '../spend/meter/model.ts';
import { countedUsage } from '../spend/meter/stream.ts';
import type { Spending } from '../spend/spending.ts';
import { noUsage } from '../spend/usage.ts';
import type { OwnedObjects } from '../upstreams/objects.ts';
import type { Admission } from './admit.ts';
import type { Call } from './call.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

/** For what was written beyond a megabyte: the usual ratio of English. */
const BYTES_A_TOKEN = 4;
const COUNTED: ReadonlySet<Meter> = new Set(['chat', 'completions', 'responses', 'embeddings']);

export function settle(
  call: Call,
  admission: Admission,
  objects: OwnedObjects,
  counter: TokenCounter,
  spending: Spending,
  resume: Resume,
): Verdict {
  call.abort = null;
  noteOwner(call, objects);
  if (call.usage !== null || !owesTokens(call)) {
    admission.release(call, call.sent ? (call.usage ?? noUsage()) : null);
    charge(call, spending);
    return null;
  }
  const finish = (): void => {
    admission.release(call, call.usage ?? noUsage());
    charge(call, spending);
    resume(call, null);
  };
  // The counter falls back to an estimate by itself; should even that fail, the call is recorded without counts.
  count(call, counter).then(finish, finish);
  return LATER;
}

/** Charges the budgets, where any apply. */
function charge(call: Call, spending: Spending): void {
  const { reservation, target } = call;
  if (reservation === null) return;
  call.reservation = null;
  call.spend = spending.settle(reservation, {
    provider: target?.provider.name ?? '',
    model: target?.model ?? '',
    serviceTier: call.serviceTier,
    usage: call.usage,
    unseen: wasUnseen(call),
    stopped: call.outcome === 'budget_stop',
  });
}

/** It was sent, and broken off from here before a word of its answer was read: the provider may bill all of it. */
function wasUnseen(call: Call): boolean {
  const brokenOff = call.outcome === 'client_closed' || call.outcome === 'timeout';
  const read = call.source === 'provider' || (call.output !== null && call.output.length > 0);
  return call.sent && brokenOff && !read;
}

/** The caller knows the object's id by now and may use it in its next call: whose it is must not wait for a count. */
function noteOwner(call: Call, objects: OwnedObjects): void {
  if (call.objectId === null || call.caller === null || call.target === null || call.status >= 300) return;
  objects.remember(call.caller.project.id, call.objectId, 'response', call.target.provider.name, call.at);
}

/**
 * Whether the provider will bill tokens that it did not state. It will for an answer that it began, and for work that
 * was stopped from here; not for what it refused, nor for a connection that it dropped before it answered.
 */
function owesTokens(call: Call): boolean {
  if (!call.sent || call.body === null || call.outcome === 'provider_error') return false;
  if (call.outcome === 'provider_cut' && call.firstByte === 0) return false;
  return COUNTED.has(call.meter);
}

async function count(call: Call, counter: TokenCounter): Promise<void> {
  const model = call.target?.model ?? '';
  const input = await counter.count('request-json', call.body ?? Buffer.alloc(0), model);
  const output =
    call.output === null || call.output.length === 0 ? null : await counter.count('text', call.output, model);
  call.usage = countedUsage(input.tokens, (output?.tokens ?? 0) + Math.ceil(call.unkept / BYTES_A_TOKEN));
  call.source = 'counted';
}
