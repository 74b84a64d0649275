// Watches a stream of server-sent events go by and reads what the call used from it, without holding it up.
//
// Bytes are passed on as they came. Only an event that could state usage is parsed, once; of the others the text
// that the model wrote is noted, so that a stream which is cut can still be counted. Where keygate itself asked for
// the usage (`stream_options.include_usage`) the extra closing event is taken out again, and then an event is
// passed on when it is complete.
//
// Memory is bounded a stream: an event longer than EVENT_BYTES is passed on unread, and of the noted text at most
// KEPT_BYTES are kept; how much more there was is known.
//
// Format: WHATWG HTML, section 9.2 (server-sent events).

import { noUsage, type Usage } from '../usage.ts';
import type { Meter } from './model.ts';
import { usageOf } from './reply.ts';

const EVENT_BYTES = 8 * 1024 * 1024;
const PORTION_CHARS = 16 * 1024;
const KEPT_BYTES = 1024 * 1024;
const DATA = 'data:';
const QUOTE = 0x22;

/** Where the model's words stand in an event, by meter: names of JSON members with a string value. */
const WORDS: Partial<Record<Meter, string>> = {
  chat: 'content|arguments|reasoning_content|refusal',
  completions: 'text',
  responses: 'delta',
};

/**
 * Finds the beginning of a usage object and of the model's words, in one pass in native code: a search for each name
 * costs three times as much (measured). `"usage":null`, which stands in every chunk, is none.
 */
function marksOf(meter: Meter): RegExp {
  const words = WORDS[meter];
  const usage = '"usage"[\\t ]*:[\\t ]*\\{';
  return new RegExp(words === undefined ? usage : `"(?:${words})":[\\t ]?"|${usage}`, 'g');
}

const marks = new Map<Meter, RegExp>();

export class StreamMeter {
  /** What the provider stated, once it has. */
  usage: Usage | null = null;
  /** The id of the stored object that the stream speaks of, when asked to look for it. */
  objectId: string | null = null;
  /** Events seen, the closing `[DONE]` included. */
  events = 0;

  /** Bytes that the model wrote beyond those kept. */
  unkept = 0;

  readonly #meter: Meter;
  readonly #strip: boolean;
  readonly #marks: RegExp;
  #wantsId: boolean;
  /** The beginning of an event whose end has not come yet. */
  #held: string[] = [];
  #heldChars = 0;
  #tail = '';
  #text = '';
  /** Noted text as bytes, which are a tenth of what the strings would hold on to. */
  #portions: Buffer[] = [];
  #kept = 0;

  /**
   * @param strip take the event out that states usage and has no choices
   * @param wantsId read `response.id` from the first event
   */
  constructor(meter: Meter, strip: boolean, wantsId: boolean) {
    this.#meter = meter;
    this.#strip = strip;
    this.#wantsId = wantsId;
    this.#marks = marks.get(meter) ?? marksOf(meter);
    marks.set(meter, this.#marks);
  }

  /** Takes what came and returns what is to be passed on: `chunk` itself in all but the rarest case. */
  push(chunk: Buffer): Buffer | null {
    const piece = chunk.toString('latin1');
    const held = this.#held.length > 0;
    if (!piece.endsWith('\n\n') && lastBreak(held ? this.#tail + piece : piece) === 0)
      return this.#hold(piece, chunk);
    const text = held ? this.#unhold() + piece : piece;
    const end = text.endsWith('\n\n') ? text.length : lastBreak(text);
    const removed = this.#read(text, end);
    if (end < text.length) this.#keep(text.slice(end));
    if (!this.#strip || (removed === null && !held && end === text.length)) return chunk;
    const out =
      removed === null ? text.slice(0, end) : text.slice(0, removed.start) + text.slice(removed.end, end);
    return out.length === 0 ? null : Buffer.from(out, 'latin1');
  }

  /** The stream is over: what was held back and is still to be passed on. */
  end(): Buffer | null {
    const rest = this.#unhold();
    if (rest.length === 0) return null;
    const removed = this.#read(rest, rest.length);
    return this.#strip && removed === null ? Buffer.from(rest, 'latin1') : null;
  }

  /** What the model wrote, as far as it was noted and kept. */
  words(): Buffer {
    this.#store();
    const contents = Buffer.concat(this.#portions);
    this.#portions = [];
    return contents.includes(0x5c) ? unescaped(contents) : contents;
  }

  #store(): void {
    if (this.#kept < KEPT_BYTES) this.#portions.push(Buffer.from(this.#text, 'latin1'));
    else this.unkept += this.#text.length;
    this.#kept += this.#text.length;
    this.#text = '';
  }

  /** No event ends in this piece: it waits for the rest, unless it has become too long to be waited for. */
  #hold(piece: string, chunk: Buffer): Buffer | null {
    this.#keep(piece);
    if (this.#heldChars <= EVENT_BYTES) return this.#strip ? null : chunk;
    const text = this.#unhold();
    return this.#strip ? Buffer.from(text, 'latin1') : chunk;
  }

  #keep(piece: string): void {
    this.#held.push(piece);
    this.#heldChars += piece.length;
    // A break of up to four characters may be cut in two: its beginning is looked at again with what comes next.
    this.#tail = (this.#tail + piece).slice(-3);
  }

  #unhold(): string {
    const text = this.#held.length === 1 ? (this.#held[0] ?? '') : this.#held.join('');
    if (this.#held.length > 0) this.#held = [];
    this.#heldChars = 0;
    this.#tail = '';
    return text;
  }

  /** Reads the whole events in text[0, end) and returns the place of the one to take out. */
  #read(text: string, end: number): { start: number; end: number } | null {
    this.events++;
    if (this.#wantsId) this.#readId(text, end);
    let removed: { start: number; end: number } | null = null;
    const marks = this.#marks;
    marks.lastIndex = 0;
    while (marks.test(text)) {
      const at = marks.lastIndex;
      if (at > end) break;
      if (text.charCodeAt(at - 1) === QUOTE) {
        if (this.usage === null) marks.lastIndex = this.#note(text, at);
        continue;
      }
      const start = eventStart(text, at);
      const stop = eventEnd(text, at, end);
      const event = parseData(text.slice(start, stop));
      if (event === null) continue;
      const body = inner(event, 'response') ?? event;
      const usage = usageOf(this.#meter, body);
      if (usage !== null) this.usage = usage;
      const choices = inner(event, 'choices');
      if (this.#strip && usage !== null && Array.isArray(choices) && choices.length === 0) {
        removed = { start, end: stop };
      }
    }
    if (this.#text.length >= PORTION_CHARS) this.#store();
    return removed;
  }

  /** Notes the string that begins at `from`; returns where it ends. */
  #note(text: string, from: number): number {
    const to = stringEnd(text, from);
    if (to > from) this.#text += text.slice(from, to);
    return to;
  }

  #readId(text: string, end: number): void {
    this.#wantsId = false;
    const event = parseData(text.slice(0, eventEnd(text, 0, end)));
    const id = inner(inner(event, 'response'), 'id');
    if (typeof id === 'string') this.objectId = id;
  }
}

/** Just past the last empty line, or 0. */
function lastBreak(text: string): number {
  const lf = text.lastIndexOf('\n\n');
  const crlf = text.lastIndexOf('\r\n\r\n');
  return Math.max(lf < 0 ? 0 : lf + 2, crlf < 0 ? 0 : crlf + 4);
}

function eventStart(text: string, at: number): number {
  const lf = text.lastIndexOf('\n\n', at);
  const crlf = text.lastIndexOf('\r\n\r\n', at);
  return Math.max(lf < 0 ? 0 : lf + 2, crlf < 0 ? 0 : crlf + 4);
}

function eventEnd(text: string, at: number, end: number): number {
  const lf = text.indexOf('\n\n', at);
  const crlf = text.indexOf('\r\n\r\n', at);
  return Math.min(lf < 0 ? end : lf + 2, crlf < 0 ? end : crlf + 4, end);
}

/** Offset of the quote that ends the string contents that begin at `from`; the text's end if there is none. */
function stringEnd(text: string, from: number): number {
  let at = text.indexOf('"', from);
  while (at > from && text.charCodeAt(at - 1) === 0x5c) {
    let slashes = 1;
    while (text.charCodeAt(at - 1 - slashes) === 0x5c && at - 1 - slashes >= from) slashes++;
    if (slashes % 2 === 0) return at;
    at = text.indexOf('"', at + 1);
  }
  return at < 0 ? text.length : at;
}

/** What JSON string contents stand for. */
function unescaped(contents: Buffer): Buffer {
  try {
    const text: unknown = JSON.parse(`"${contents.toString('utf8')}"`);
    return typeof text === 'string' ? Buffer.from(text, 'utf8') : contents;
  } catch {
    return contents;
  }
}

/** The JSON of an event's data lines; null where it is none. `event` is text whose characters are bytes. */
function parseData(event: string): unknown {
  let data = '';
  for (const line of event.split(/\r?\n/)) {
    if (line.startsWith(DATA)) data += data === '' ? line.slice(DATA.length) : `\n${line.slice(DATA.length)}`;
  }
  try {
    return JSON.parse(Buffer.from(data, 'latin1').toString('utf8'));
  } catch {
    return null;
  }
}

function inner(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return Reflect.get(value, name);
}

/** What a call used when the provider did not say and a tokenizer counted. */
export function countedUsage(input: number, output: number): Usage {
  const usage = noUsage();
  usage.input = input;
  usage.output = output;
  return usage;
}
