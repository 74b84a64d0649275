// Reads HTTP/1.1 responses from a connection's bytes (RFC 9112), strictly: what could be read in two ways is refused
// and ends the connection, because whoever disagreed about where one answer ends would give it to the next caller.
//
// Refused: a message with both Transfer-Encoding and Content-Length, a repeated or malformed Content-Length, a coding
// other than `chunked` alone, folded lines, control characters, a bare line feed in the head or in a chunk's frame,
// 101, and heads, chunk frames or trailers beyond their bounds.
//
// Bodies are given out as they come, where they lie, and only for that moment. Nothing is kept but a head or a chunk's
// frame that is cut in two, as text.

export interface ResponseHead {
  readonly status: number;
  /** Lower-case names and values, flat. */
  readonly headers: readonly string[];
}

export interface ResponseEvents {
  head(head: ResponseHead): void;
  /** @param chunk is not the taker's to keep */
  data(chunk: Buffer): void;
  /** @param reusable whether the connection may carry another call */
  complete(reusable: boolean): void;
}

/** A response that breaks the rules of HTTP. The message says which rule, and nothing of the content. */
export class ResponseSyntaxError extends Error {
  override readonly name = 'ResponseSyntaxError';
  readonly code = 'EBADRESPONSE';
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailer' | 'close' | 'idle';

const FRAME_CHARS = 4_096;
const TRAILER_CHARS = 16_384;
const STATUS_LINE = /^HTTP\/1\.([01]) ([2-9][0-9]{2}|1[0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const CONTROL = /[\x00-\x08\x0a-\x1f\x7f]/;
const LENGTH = /^[0-9]{1,15}$/;
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

/** The value of a hexadecimal digit's byte; -1 for others. */
const HEX = Int8Array.from({ length: 256 }, (_, byte) => {
  const digit = String.fromCharCode(byte);
  return /[0-9A-Fa-f]/.test(digit) ? Number.parseInt(digit, 16) : -1;
});

/** A provider spells its names the same way in every answer; each spelling is checked once. Bounded. */
const spellings = new Map<string, string>();
const SPELLINGS_KEPT = 512;

function lowerName(name: string): string {
  const known = spellings.get(name);
  if (known !== undefined) return known;
  if (!NAME.test(name)) throw new ResponseSyntaxError('a header name is malformed');
  const lower = name.toLowerCase();
  if (spellings.size < SPELLINGS_KEPT) spellings.set(name, lower);
  return lower;
}

export class ResponseParser {
  readonly #events: ResponseEvents;
  readonly #headChars: number;
  #state: State = 'idle';
  /** The beginning of a head, a chunk's frame or a trailer whose end has not come yet. */
  #held = '';
  #left = 0;
  #trailerChars = 0;
  #keepAlive = true;
  #hasBody = true;

  /** @param headChars the longest head, in bytes */
  constructor(events: ResponseEvents, headChars: number) {
    this.#events = events;
    this.#headChars = headChars;
  }

  /** A request was sent: its response may come now. @param method HEAD has no body */
  expect(method: string): void {
    this.#state = 'head';
    this.#hasBody = method !== 'HEAD';
  }

  /** Takes bytes as they came; it may move them, and keeps none of them. Throws ResponseSyntaxError; then destroy the connection. */
  push(bytes: Buffer): void {
    let at = 0;
    while (at < bytes.length) {
      switch (this.#state) {
        case 'length':
          at = this.#body(bytes, at);
          break;
        case 'chunk-data':
          at = this.#chunks(bytes, at);
          break;
        case 'close':
          this.#events.data(at === 0 ? bytes : bytes.subarray(at));
          return;
        case 'idle':
          throw new ResponseSyntaxError('bytes came that belong to no answer');
        case 'head':
          at = this.#readHead(bytes, at);
          break;
        default:
          at = this.#readFrame(bytes, at);
      }
    }
  }

  /** The connection was closed in an orderly way. True: that was the answer's end. */
  closed(): boolean {
    if (this.#state !== 'close') return false;
    this.#finish(false);
    return true;
  }

  #body(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    this.#events.data(at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end));
    if (this.#left === 0) this.#finish(this.#keepAlive, end < bytes.length);
    return end;
  }

  /**
   * The data of all chunks that came together, moved up to each other where they lie and given out as one: a stream's
   * events are a chunk each, and come many at a time when the road is busy. Whatever is not the plain frame between two
   * chunks is left to #readFrame.
   */
  #chunks(bytes: Buffer, start: number): number {
    let at = start;
    let gathered = start;
    for (;;) {
      const end = Math.min(bytes.length, at + this.#left);
      if (at > gathered) bytes.copyWithin(gathered, at, end);
      gathered += end - at;
      this.#left -= end - at;
      at = end;
      if (this.#left > 0) break;
      this.#state = 'chunk-end';
      const data = this.#plainFrame(bytes, at);
      if (data < 0) break;
      this.#state = 'chunk-data';
      at = data;
    }
    this.#events.data(start === 0 && gathered === bytes.length ? bytes : bytes.subarray(start, gathered));
    return at;
  }

  /** Reads `CRLF size CRLF` and sets what is left; returns where data begins, or -1 when it is not quite that. */
  #plainFrame(bytes: Buffer, start: number): number {
    if (bytes[start] !== 0x0d || bytes[start + 1] !== 0x0a) return -1;
    let at = start + 2;
    let size = 0;
    for (const most = at + 7; at < most; at++) {
      const digit = HEX[bytes[at] ?? 0] ?? -1;
      if (digit < 0) break;
      size = size * 16 + digit;
    }
    if (size === 0 || bytes[at] !== 0x0d || bytes[at + 1] !== 0x0a) return -1;
    this.#left = size;
    return at + 2;
  }

  #readHead(bytes: Buffer, at: number): number {
    const fresh = bytes.toString('latin1', at, Math.min(bytes.length, at + this.#headChars + 4));
    const text = this.#held.length === 0 ? fresh : this.#held + fresh;
    const end = text.indexOf('\r\n\r\n', Math.max(0, this.#held.length - 3));
    if (end < 0 || end > this.#headChars) {
      if (text.length > this.#headChars) throw new ResponseSyntaxError('the head is too long');
      this.#held = text;
      return bytes.length;
    }
    const next = at + end + 4 - this.#held.length;
    this.#held = '';
    this.#takeHead(text.slice(0, end), next === bytes.length);
    return next;
  }

  #takeHead(text: string, nothingFollows: boolean): void {
    let lineEnd = text.indexOf('\r\n');
    if (lineEnd < 0) lineEnd = text.length;
    const line = STATUS_LINE.exec(text.slice(0, lineEnd));
    if (line === null) throw new ResponseSyntaxError('the status line is malformed');
    const status = Number(line[2]);
    if (status === 101) throw new ResponseSyntaxError('the protocol was switched unasked');
    const headers: string[] = [];
    let length = -1;
    let chunked = false;
    let keepAlive = line[1] === '1';
    for (let from = lineEnd + 2; from < text.length; from = lineEnd + 2) {
      lineEnd = text.indexOf('\r\n', from);
      if (lineEnd < 0) lineEnd = text.length;
      const colon = text.indexOf(':', from);
      if (colon < 0 || colon > lineEnd) throw new ResponseSyntaxError('a header line has no colon');
      const lower = lowerName(text.slice(from, colon));
      const value = text.slice(colon + 1, lineEnd).trim();
      if (CONTROL.test(value)) throw new ResponseSyntaxError('a header value has a control character');
      headers.push(lower, value);
      if (lower === 'content-length') {
        if (length >= 0 || !LENGTH.test(value))
          throw new ResponseSyntaxError('the content length is ambiguous');
        length = Number(value);
      } else if (lower === 'transfer-encoding') {
        if (chunked || value.toLowerCase() !== 'chunked')
          throw new ResponseSyntaxError('the transfer coding is not chunked');
        chunked = true;
      } else if (lower === 'connection' && /(?:^|,)\s*close\s*(?:,|$)/i.test(value)) keepAlive = false;
    }
    if (chunked && length >= 0) throw new ResponseSyntaxError('the length is stated in two ways');
    // RFC 9110 section 15.2: interim responses come before the answer proper and have no body.
    if (status < 200) return;
    this.#keepAlive = keepAlive;
    const bodyless = !this.#hasBody || status === 204 || status === 304;
    if (bodyless) this.#state = 'idle';
    else if (chunked) this.#state = 'chunk-size';
    else if (length >= 0) {
      this.#state = length === 0 ? 'idle' : 'length';
      this.#left = length;
    } else this.#state = 'close';
    this.#events.head({ status, headers });
    if (this.#state === 'idle') this.#finish(keepAlive, !nothingFollows);
  }

  /** A chunk's size line, the line break after its data, or the trailer: lines that end in CRLF. */
  #readFrame(bytes: Buffer, at: number): number {
    const limit = this.#state === 'trailer' ? TRAILER_CHARS : FRAME_CHARS;
    const fresh = bytes.toString('latin1', at, Math.min(bytes.length, at + limit + 2));
    const text = this.#held.length === 0 ? fresh : this.#held + fresh;
    const end = text.indexOf('\r\n', Math.max(0, this.#held.length - 1));
    if (end > limit || (end < 0 && text.length > limit))
      throw new ResponseSyntaxError('a chunk’s frame is too long');
    if (end < 0) {
      this.#held = text;
      return bytes.length;
    }
    const next = at + end + 2 - this.#held.length;
    this.#held = '';
    this.#takeFrame(text.slice(0, end), next === bytes.length);
    return next;
  }

  #takeFrame(line: string, nothingFollows: boolean): void {
    if (this.#state === 'chunk-end') {
      if (line !== '') throw new ResponseSyntaxError('a chunk is longer than it says');
      this.#state = 'chunk-size';
    } else if (this.#state === 'chunk-size') {
      const size = CHUNK_SIZE.exec(line)?.[1];
      if (size === undefined) throw new ResponseSyntaxError('a chunk’s size is malformed');
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'chunk-data';
      if (this.#left === 0) this.#trailerChars = 0;
    } else if (line === '') this.#finish(this.#keepAlive, !nothingFollows);
    else {
      this.#trailerChars += line.length;
      if (this.#trailerChars > TRAILER_CHARS) throw new ResponseSyntaxError('the trailer is too long');
      if (CONTROL.test(line)) throw new ResponseSyntaxError('the trailer has a control character');
    }
  }

  /** @param more bytes follow that belong to no request: the connection is not to be trusted with another */
  #finish(reusable: boolean, more = false): void {
    this.#state = 'idle';
    this.#events.complete(reusable && !more);
  }
}
