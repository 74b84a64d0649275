// Counts what a model writes while a stream goes by, never too little: a token stands for at least one byte of UTF-8
// (byte-level BPE), so the bytes of all text in a reply bound its tokens; each event counts one more, for what frames it.
// Where the provider states its usage on the way, that is the count until then.
//
// Every event is parsed here, which the meter of other streams does not do (stream.ts): this is only for calls that are
// reserved bit by bit, because they have no bound and the administrator chose so.

import { Ending } from './ending.ts';
import type { Meter } from './model.ts';
import { usageOf } from './reply.ts';

type Json = Readonly<Record<string, unknown>>;

/** Members of a chunk's `delta` whose text is no output: they repeat names that the API gives. */
const NAMES: ReadonlySet<string> = new Set(['role', 'id', 'type', 'index']);

export class ReplyTally {
  /** At least the tokens that were written until now. */
  tokens = 0;
  /** How the stream would be ended here. */
  readonly ending: Ending;
  readonly #meter: Meter;

  constructor(meter: Meter) {
    this.#meter = meter;
    this.ending = new Ending(meter);
  }

  /** Whole events, as they came. */
  read(events: string): void {
    for (const event of events.split(/\r?\n\r?\n/)) {
      const data = dataOf(event);
      if (data === '') continue;
      if (data === '[DONE]') this.ending.over = true;
      else this.#take(data);
    }
  }

  /** Bytes that could not be told apart into events. */
  unread(bytes: number): void {
    this.tokens += bytes;
  }

  #take(data: string): void {
    let value: unknown;
    try {
      value = JSON.parse(data);
    } catch {
      return this.unread(Buffer.byteLength(data));
    }
    if (!isObject(value)) return;
    this.tokens += 1 + this.#written(value);
    this.ending.see(value);
    const usage = usageOf(this.#meter, isObject(value['response']) ? value['response'] : value);
    if (usage !== null) this.tokens = Math.max(usage.output, 0);
  }

  #written(event: Json): number {
    if (this.#meter === 'responses') {
      const item = isObject(event['item']) ? textBytes(event['item']['name']) : 0;
      return textBytes(event['delta']) + (event['type'] === 'response.output_item.added' ? item : 0);
    }
    const choices: unknown = event['choices'];
    if (!Array.isArray(choices)) return 0;
    return choices.reduce<number>((sum, choice) => {
      if (!isObject(choice)) return sum;
      return sum + textBytes(choice['text']) + allText(choice['delta']);
    }, 0);
  }
}

/** The text of every member, at any depth: content, refusals, reasoning under whatever name, names of tools, arguments. */
function allText(value: unknown): number {
  if (typeof value === 'string') return textBytes(value);
  if (Array.isArray(value)) return value.reduce<number>((sum, each) => sum + allText(each), 0);
  if (!isObject(value)) return 0;
  let sum = 0;
  for (const [name, each] of Object.entries(value)) if (!NAMES.has(name)) sum += allText(each);
  return sum;
}

function textBytes(value: unknown): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : 0;
}

function dataOf(event: string): string {
  let data = '';
  for (const line of event.split(/\r?\n/)) {
    if (!line.startsWith('data:')) continue;
    const text = line.slice(5).trimStart();
    data = data === '' ? text : `${data}\n${text}`;
  }
  return data.trimEnd();
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
