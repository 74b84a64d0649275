// Reads what a provider says that a call used. Whatever it says is data: counts that are not whole numbers of a
// sensible size count as none.

import { ObjectScan } from '../../platform/json-scan.ts';
import { noUsage, type Usage } from '../usage.ts';
import type { Meter } from './model.ts';

type Json = Readonly<Record<string, unknown>>;

/** What a whole reply says that is recorded. */
export interface ReplyFacts {
  /** Null where the provider stated none. */
  readonly usage: Usage | null;
  readonly id: string;
  readonly model: string;
  readonly serviceTier: string;
}

const FACTS: ReadonlySet<string> = new Set(['usage', 'id', 'model', 'service_tier']);
const NO_FACTS: ReplyFacts = Object.freeze({ usage: null, id: '', model: '', serviceTier: '' });
const NAME_MAX = 256;

/** Up to this a parser in native code is faster than looking for the members (measured). */
const SHORT_BYTES = 16 * 1024;

/**
 * Reads the facts of a whole JSON reply. In a long one (a batch of embeddings is megabytes) they are looked for in the
 * bytes and parsed alone, where only the reply's own members matter.
 */
export function factsOf(meter: Meter, bytes: Buffer): ReplyFacts {
  const scan =
    bytes.length <= SHORT_BYTES || WHOLE.has(meter)
      ? null
      : ObjectScan.over(bytes, Number.POSITIVE_INFINITY, FACTS);
  if (!(scan instanceof ObjectScan)) return factsOfWhole(meter, parsed(bytes));
  const member = (name: string): unknown => {
    const place = scan.members.get(name);
    return place === undefined ? undefined : parsed(bytes.subarray(place.start, place.end));
  };
  return {
    usage: usageOf(meter, { usage: member('usage') }),
    id: name(member('id')),
    model: name(member('model')),
    serviceTier: name(member('service_tier')),
  };
}

/** Meters that count what stands elsewhere in the reply: images made, searches run. */
const WHOLE: ReadonlySet<Meter> = new Set(['images', 'responses', 'moderations']);

function factsOfWhole(meter: Meter, reply: unknown): ReplyFacts {
  const body = object(reply);
  if (body === null) return NO_FACTS;
  return {
    usage: usageOf(meter, body),
    id: name(body['id']),
    model: name(body['model']),
    serviceTier: name(body['service_tier']),
  };
}

function name(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, NAME_MAX) : '';
}

function parsed(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return null;
  }
}

const LARGEST_COUNT = 2 ** 40;

/**
 * The usage that a whole JSON reply, or the closing event of a stream, states.
 * @returns null where it states none; then a tokenizer counts.
 */
export function usageOf(meter: Meter, reply: unknown): Usage | null {
  const body = object(reply);
  if (body === null) return null;
  const stated = object(body['usage']);
  switch (meter) {
    case 'images':
      return withImages(stated, body);
    case 'transcription':
      return transcription(stated);
    case 'responses':
      return stated === null ? null : withSearches(tokens(stated), body);
    case 'moderations':
      return noUsage();
    default:
      return stated === null ? null : tokens(stated);
  }
}

/** Token counts under either family of names (`prompt_tokens` of chat, `input_tokens` of Responses). */
function tokens(stated: Json): Usage {
  const usage = noUsage();
  const input = object(stated['prompt_tokens_details']) ?? object(stated['input_tokens_details']) ?? {};
  const output = object(stated['completion_tokens_details']) ?? object(stated['output_tokens_details']) ?? {};
  usage.input = count(stated['prompt_tokens'] ?? stated['input_tokens']);
  usage.output = count(stated['completion_tokens'] ?? stated['output_tokens']);
  usage.cachedInput = count(input['cached_tokens']);
  usage.cacheWrite = count(input['cache_write_tokens'] ?? input['cache_creation_tokens']);
  usage.audioInput = count(input['audio_tokens']);
  usage.imageInput = count(input['image_tokens']);
  usage.reasoning = count(output['reasoning_tokens']);
  usage.audioOutput = count(output['audio_tokens']);
  usage.imageOutput = count(output['image_tokens']);
  return usage;
}

function withImages(stated: Json | null, body: Json): Usage {
  const usage = stated === null ? noUsage() : tokens(stated);
  const data = body['data'];
  usage.images = Array.isArray(data) ? data.length : 0;
  // Image models state their output as image tokens without saying so in the details.
  if (usage.imageOutput === 0) usage.imageOutput = usage.output;
  return usage;
}

function transcription(stated: Json | null): Usage | null {
  if (stated === null) return null;
  const usage = tokens(stated);
  const details = object(stated['input_token_details']) ?? {};
  usage.audioInput = count(details['audio_tokens']);
  const seconds = stated['seconds'];
  if (stated['type'] === 'duration' && typeof seconds === 'number' && seconds >= 0) {
    usage.audioMs = Math.min(Math.ceil(seconds * 1000), LARGEST_COUNT);
  }
  return usage;
}

function withSearches(usage: Usage, body: Json): Usage {
  const output = body['output'];
  if (Array.isArray(output)) {
    for (const item of output) if (object(item)?.['type'] === 'web_search_call') usage.searches++;
  }
  return usage;
}

/** The text that a model wrote in a whole reply, of chat, completions or Responses: what a tokenizer counts. */
export function outputText(bytes: Buffer): string {
  const body = object(parsed(bytes));
  const texts: string[] = [];
  for (const choice of list(body?.['choices'])) {
    const fields = object(choice);
    const message = object(fields?.['message']);
    push(texts, fields?.['text'] ?? message?.['content'] ?? message?.['refusal']);
    for (const tool of list(message?.['tool_calls']))
      push(texts, object(object(tool)?.['function'])?.['arguments']);
  }
  for (const item of list(body?.['output'])) {
    push(texts, object(item)?.['arguments']);
    for (const part of list(object(item)?.['content'])) push(texts, object(part)?.['text']);
  }
  push(texts, body?.['text']);
  return texts.join('\n');
}

function push(texts: string[], value: unknown): void {
  if (typeof value === 'string') texts.push(value);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function count(value: unknown): number {
  return typeof value === 'number' && Number.isInteger(value) && value > 0 && value <= LARGEST_COUNT
    ? value
    : 0;
}

function object(value: unknown): Json | null {
  return isObject(value) ? value : null;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
