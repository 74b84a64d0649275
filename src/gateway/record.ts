// Record: one usage event, handed to the journal, which makes it durable off the road. It holds counts and ids,
// never a prompt or a reply.

import type { Clock } from '../platform/clock.ts';
import type { PromptLog, Transcript } from '../prompts/log.ts';
import type { Journal } from '../spend/journal.ts';
import { noUsage, type UsageEvent } from '../spend/usage.ts';
import type { Call } from './call.ts';
import type { Metrics } from './metrics.ts';

export function record(
  call: Call,
  clock: Clock,
  journal: Journal,
  metrics: Metrics,
  prompts: PromptLog | null,
): null {
  const event = eventOf(call, clock.monotonic());
  if (event === null) {
    call.onEnded?.(null);
    return null;
  }
  metrics.observe(event);
  call.reserved = false;
  if (call.order === null) journal.append(event);
  else journal.release();
  if (call.transcript !== null && prompts !== null) log(call, call.transcript, event, prompts);
  // What is left of the call until its connection lets go of it should not hold the prompt.
  call.body = null;
  call.exchange = null;
  call.onEnded?.(event);
  return null;
}

function log(call: Call, transcript: Transcript, event: UsageEvent, prompts: PromptLog): void {
  const { at, requestId, projectId, keyId, operation, modelAsked: model, status, outcome, streamed } = event;
  const request = call.operation?.body === 'json' ? call.body : null;
  const said = { at, requestId, projectId, keyId, operation, model, status, outcome, streamed };
  prompts.write(said, request, transcript);
  call.transcript = null;
}

function eventOf(call: Call, now: number): UsageEvent | null {
  const { caller, operation, target } = call;
  if (caller === null || operation === null || !call.reserved) return null;
  const asked = call.asked.model ?? '';
  return {
    requestId: call.id,
    at: call.at,
    organizationId: caller.organizationId,
    projectId: caller.project.id,
    keyId: caller.keyId,
    ownerId: caller.ownerId,
    operation: operation.name,
    modelAsked: asked,
    modelServed: call.modelServed || (target?.model ?? ''),
    provider: target?.provider.name ?? '',
    status: call.status,
    outcome: call.outcome,
    streamed: call.streamed,
    firstByteMs: call.firstByte === 0 ? 0 : Math.round(call.firstByte - call.began),
    durationMs: Math.round(now - call.began),
    serviceTier: call.serviceTier,
    source: call.source,
    usage: call.usage ?? noUsage(),
    test: caller.type === 'test',
    batch: call.order !== null,
    spend: call.spend,
  };
}
