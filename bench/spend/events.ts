// Usage events as a road makes them, for the benchmarks: 1,000 keys of 50 projects, six models.

import { setTimeout as after } from 'node:timers/promises';
import type { Journal } from '../../src/spend/journal.ts';
import { noUsage, type UsageEvent } from '../../src/spend/usage.ts';

export const KEYS = 1000;
export const PROJECTS = 50;
export const MODELS = [
  'gpt-5-mini',
  'gpt-5',
  'gpt-4o-mini',
  'text-embedding-3-small',
  'claude-sonnet-4-5',
  'o4-mini',
];

function eventAt(number: number, organizationId: string): UsageEvent {
  const key = (number * 7919) % KEYS;
  const model = MODELS[(key + (number % 3)) % MODELS.length] ?? '';
  return {
    requestId: `req_${number.toString(16).padStart(32, '0')}`,
    at: Date.now(),
    organizationId,
    projectId: `proj_${key % PROJECTS}`,
    keyId: `key_${key}`,
    ownerId: `user-${key % 200}`,
    operation: model.startsWith('text') ? 'embeddings.create' : 'chat.completions.create',
    modelAsked: model,
    modelServed: model,
    provider: model.startsWith('claude') ? 'anthropic' : 'openai',
    status: 200,
    outcome: 'ok',
    streamed: number % 2 === 0,
    firstByteMs: 240,
    durationMs: 900,
    serviceTier: 'default',
    source: 'provider',
    usage: { ...noUsage(), input: 500 + (number % 1000), cachedInput: number % 300, output: number % 700 },
    test: false,
    batch: false,
    spend: null,
  };
}

/** As a road does: each event when there is a place for it, a thousand a turn of the event loop. */
export async function feed(journal: Journal, events: number, organizationId: string): Promise<void> {
  for (let number = 0; number < events; ) {
    for (let turn = 0; turn < 100 && number < events && journal.take(); turn++)
      journal.append(eventAt(number++, organizationId));
    await after(1);
  }
}
