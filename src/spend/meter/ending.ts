// How a stream is ended before its end so that every client takes it for what it is, a reply that was cut at its length:
// a chat completion by a chunk with `finish_reason: "length"` for each choice that is still open, and `[DONE]`; a response
// by its open parts and items as they stand, and `response.incomplete` (docs/api-reference/responses-streaming).

import type { Meter } from './model.ts';

type Json = Readonly<Record<string, unknown>>;
/** A copy of the provider's object that is filled as the stream goes on. */
type Draft = Record<string, unknown>;

export class Ending {
  /** The stream has said itself that it is over. */
  over = false;
  readonly #meter: Meter;
  /** What every chunk of this stream begins with. */
  #chunk: Draft = {};
  readonly #choices = new Map<number, boolean>();
  #response: Draft | null = null;
  readonly #items = new Map<number, { item: Draft; done: boolean }>();
  #sequence = 0;

  constructor(meter: Meter) {
    this.#meter = meter;
  }

  /** Takes note of one event. */
  see(event: Json): void {
    if (this.#meter === 'responses') this.#seeResponse(event);
    else this.#seeChunk(event);
  }

  /** The events that end the stream here. */
  events(): Buffer {
    return Buffer.from(this.#meter === 'responses' ? this.#endResponse() : this.#endChunks());
  }

  #seeChunk(event: Json): void {
    const { choices, usage: _, ...chunk } = event;
    this.#chunk = chunk;
    if (!Array.isArray(choices)) return;
    for (const choice of choices) {
      const index = numberIn(choice, 'index') ?? 0;
      if (member(choice, 'finish_reason') != null) this.#choices.set(index, true);
      else if (!this.#choices.has(index)) this.#choices.set(index, false);
    }
    if (this.#choices.size > 0 && [...this.#choices.values()].every(Boolean)) this.over = true;
  }

  #endChunks(): string {
    const open = [...this.#choices].filter(([, done]) => !done).map(([index]) => index);
    const rest = this.#meter === 'chat' ? { delta: {} } : { text: '' };
    const choices = (this.#choices.size === 0 ? [0] : open).map((index) => ({
      index,
      ...rest,
      logprobs: null,
      finish_reason: 'length',
    }));
    return `data: ${JSON.stringify({ ...this.#chunk, choices })}\n\ndata: [DONE]\n\n`;
  }

  #seeResponse(event: Json): void {
    this.#sequence = numberIn(event, 'sequence_number') ?? this.#sequence;
    const type = String(event['type']);
    const response = draftOf(event['response']);
    if (response !== null) this.#response = response;
    if (/^response\.(completed|incomplete|failed|cancelled)$/.test(type)) this.over = true;
    const at = numberIn(event, 'output_index') ?? -1;
    if (type === 'response.output_item.added' || type === 'response.output_item.done') {
      const item = draftOf(event['item']);
      if (item !== null) this.#items.set(at, { item, done: type.endsWith('.done') });
      return;
    }
    const item = this.#items.get(at)?.item;
    if (item === undefined) return;
    if (type === 'response.content_part.added') put(item, 'content', numberIn(event, 'content_index'), event);
    else if (type === 'response.reasoning_summary_part.added')
      put(item, 'summary', numberIn(event, 'summary_index'), event);
    else if (type.endsWith('.delta')) this.#write(item, type, event);
  }

  #write(item: Draft, type: string, event: Json): void {
    const { delta } = event;
    if (typeof delta !== 'string') return;
    if (type === 'response.function_call_arguments.delta') append(item, 'arguments', delta);
    else if (type === 'response.custom_tool_call_input.delta') append(item, 'input', delta);
    else if (type === 'response.reasoning_summary_text.delta')
      append(partOf(item, 'summary', numberIn(event, 'summary_index')), 'text', delta);
    else {
      const part = partOf(item, 'content', numberIn(event, 'content_index'));
      append(part, type === 'response.refusal.delta' ? 'refusal' : 'text', delta);
    }
  }

  #endResponse(): string {
    const events: Draft[] = [];
    for (const [at, entry] of this.#items) {
      if (entry.done) continue;
      const { item } = entry;
      const item_id = item['id'];
      if (item['type'] === 'message' && Array.isArray(item['content'])) {
        for (const [content_index, part] of item['content'].entries()) {
          const place = { item_id, output_index: at, content_index };
          if (member(part, 'type') === 'output_text')
            events.push({
              type: 'response.output_text.done',
              ...place,
              text: member(part, 'text'),
              logprobs: [],
            });
          events.push({ type: 'response.content_part.done', ...place, part });
        }
      }
      item['status'] = 'incomplete';
      events.push({ type: 'response.output_item.done', output_index: at, item });
    }
    const output = [...this.#items].sort(([a], [b]) => a - b).map(([, { item }]) => item);
    const response = {
      ...this.#response,
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output,
      usage: null,
    };
    events.push({ type: 'response.incomplete', response });
    return events
      .map((event) => {
        const { type, ...rest } = event;
        this.#sequence++;
        const data = JSON.stringify({ type, sequence_number: this.#sequence, ...rest });
        return `event: ${String(type)}\ndata: ${data}\n\n`;
      })
      .join('');
  }
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

function numberIn(value: unknown, name: string): number | null {
  const found = member(value, name);
  return typeof found === 'number' && Number.isSafeInteger(found) && found >= 0 && found < 10_000
    ? found
    : name === 'sequence_number' && typeof found === 'number'
      ? found
      : null;
}

/** The object itself: it was parsed for this purpose only. */
function draftOf(value: unknown): Draft | null {
  return isDraft(value) ? value : null;
}

function isDraft(value: unknown): value is Draft {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function put(item: Draft, list: 'content' | 'summary', index: number | null, event: Json): void {
  const part = draftOf(event['part']);
  const parts = item[list];
  if (part !== null && Array.isArray(parts)) parts[index ?? parts.length] = part;
}

function partOf(item: Draft, list: 'content' | 'summary', index: number | null): Draft | null {
  const parts = item[list];
  return Array.isArray(parts) ? draftOf(parts[index ?? 0]) : null;
}

function append(to: Draft | null, name: string, text: string): void {
  if (to === null) return;
  const before = to[name];
  to[name] = typeof before === 'string' ? before + text : text;
}
