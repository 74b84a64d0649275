// Reads HTTP/1.1 requests from a connection's bytes (RFC 9112), strictly: what could be read in two ways is refused and
// ends the connection, because whoever disagreed about where one request ends would read another in its body.
//
// Refused: a message with both Transfer-Encoding and Content-Length, a repeated or malformed Content-Length, a coding
// other than `chunked` alone or in HTTP/1.0, folded lines, a blank before a colon, control characters, a carriage return
// or line feed alone, HTTP/1.1 without a Host or anything with two, other versions, and heads, header counts, chunk
// frames, chunk extensions or trailers beyond their bounds.
//
// One message is read at a time: `push` stops at its end and says how far it came; `next` lets the next one begin.
// Bodies are given out as they come, without a copy. Nothing is kept but a head or a chunk's frame that is cut in two.

export interface RequestHead {
  readonly method: string;
  /** As it stands in the request line: visible ASCII, no blanks. */
  readonly target: string;
  /** As they came, flat: name, value without the blanks around it. */
  readonly headers: readonly string[];
  /** HTTP/1.0: knows no chunks, and ends its connection unless it asks otherwise. */
  readonly isOld: boolean;
  /** Whether the connection may carry another request. */
  readonly keepAlive: boolean;
  /** The body comes only after `100 Continue` was sent (RFC 9110 section 10.1.1). */
  readonly continues: boolean;
}

export interface RequestEvents {
  /** Returns false when somebody else is to read this request: the parser then stops before its body, for good. */
  head(head: RequestHead): boolean;
  data(chunk: Buffer): void;
  complete(): void;
}

/** A request that breaks the rules of HTTP. The message says which rule, and nothing of the content. */
export class RequestSyntaxError extends Error {
  override readonly name = 'RequestSyntaxError';
  readonly status: 400 | 417 | 431 | 505;

  constructor(message: string, status: 400 | 417 | 431 | 505 = 400) {
    super(message);
    this.status = status;
  }
}

type State = 'head' | 'length' | 'chunk-size' | 'chunk-data' | 'chunk-end' | 'trailer' | 'done' | 'left';

const FIRST_LOOK = 4_096;
const HEADERS_MOST = 500;
const METHOD_CHARS = 32;
const FRAME_CHARS = 1_024;
const TRAILER_CHARS = 16_384;
/** Extensions of all chunks of a body together; they say nothing that is used (RFC 9112 section 7.1.1). */
const EXTENSION_CHARS = 16_384;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const VISIBLE = /^[\x21-\x7e]+$/;
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
const UNFIT = /[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\r(?!\n)|(?<!\r)\n/;
const LENGTH = /^[0-9]{1,15}$/;
const CHUNK_SIZE = /^([0-9A-Fa-f]{1,12})[\t ]*(?:;[\t\x20-\x7e\x80-\xff]*)?$/;

type Framing = 'none' | 'host' | 'length' | 'coding' | 'connection' | 'expect';
const FRAMING: ReadonlyMap<string, Framing> = new Map([
  ['host', 'host'],
  ['content-length', 'length'],
  ['transfer-encoding', 'coding'],
  ['connection', 'connection'],
  ['expect', 'expect'],
]);

/** Callers spell names in a few ways; each spelling is checked once. Bounded. */
const spellings = new Map<string, Framing>();
const SPELLINGS_KEPT = 512;
const SPELLING_CHARS = 64;

function framingOf(name: string): Framing {
  const known = spellings.get(name);
  if (known !== undefined) return known;
  if (!TOKEN.test(name)) throw new RequestSyntaxError('a header name is malformed');
  const framing = FRAMING.get(name.toLowerCase()) ?? 'none';
  if (spellings.size < SPELLINGS_KEPT && name.length <= SPELLING_CHARS) spellings.set(name, framing);
  return framing;
}

export class RequestParser {
  readonly #events: RequestEvents;
  readonly #headChars: number;
  #state: State = 'head';
  /** The beginning of a head, a chunk's frame or a trailer whose end has not come yet. */
  #held = '';
  #left = 0;
  #trailerChars = 0;
  #extensionChars = 0;
  /** The head that was left to somebody else, with the empty line after it. */
  #unread = '';

  /** @param headChars the longest head, in bytes */
  constructor(events: RequestEvents, headChars: number) {
    this.#events = events;
    this.#headChars = headChars;
  }

  /** The message has ended; `next` lets another begin. */
  get done(): boolean {
    return this.#state === 'done';
  }

  /** Not a byte of a message has come since the last one. */
  get untouched(): boolean {
    return this.#state === 'head' && this.#held === '';
  }

  /** The head that was left to somebody else, as it came; null: none was. */
  get unread(): Buffer | null {
    return this.#state === 'left' ? Buffer.from(this.#unread, 'latin1') : null;
  }

  /** After a message has ended: another may come. */
  next(): void {
    this.#state = 'head';
  }

  /**
   * Takes bytes as they came, up to the end of the message.
   * @returns how many were taken; the rest belongs to the next message
   * @throws RequestSyntaxError; the connection must then be ended
   */
  push(bytes: Buffer): number {
    let at = 0;
    while (at < bytes.length && this.#state !== 'done' && this.#state !== 'left') {
      if (this.#state === 'head') at = this.#readHead(bytes, at);
      else if (this.#state === 'length' || this.#state === 'chunk-data') at = this.#body(bytes, at);
      else at = this.#readFrame(bytes, at);
    }
    return at;
  }

  #body(bytes: Buffer, at: number): number {
    const end = Math.min(bytes.length, at + this.#left);
    this.#left -= end - at;
    const chunk = at === 0 && end === bytes.length ? bytes : bytes.subarray(at, end);
    const last = this.#left === 0;
    const whole = last && this.#state === 'length';
    if (last) this.#state = whole ? 'done' : 'chunk-end';
    this.#events.data(chunk);
    if (whole) this.#events.complete();
    return end;
  }

  #readHead(bytes: Buffer, at: number): number {
    // A head is short as a rule, and what follows it is not to be made text of.
    return (
      this.#lookForHead(bytes, at, FIRST_LOOK) ?? this.#lookForHead(bytes, at, this.#headChars + 4) ?? at
    );
  }

  /** Looks for the head's end in the next `most` bytes. Undefined: it may come in those after them. */
  #lookForHead(bytes: Buffer, at: number, most: number): number | undefined {
    const until = Math.min(bytes.length, at + most);
    const fresh = bytes.toString('latin1', at, until);
    const text = this.#held === '' ? fresh : this.#held + fresh;
    // RFC 9112 section 2.2: empty lines before a request are passed over.
    let skipped = 0;
    while (text.startsWith('\r\n', skipped)) skipped += 2;
    const end = text.indexOf('\r\n\r\n', Math.max(skipped, this.#held.length - 3));
    if (end >= 0 && end <= this.#headChars) {
      const next = at + end + 4 - this.#held.length;
      this.#held = '';
      this.#takeHead(text.slice(skipped, end));
      return next;
    }
    if (text.length >= this.#headChars + 4) throw new RequestSyntaxError('the head is too long', 431);
    if (until < bytes.length) return undefined;
    this.#held = text;
    return bytes.length;
  }

  #takeHead(text: string): void {
    if (UNFIT.test(text)) throw new RequestSyntaxError('the head has a control character or a broken line');
    let lineEnd = text.indexOf('\r\n');
    if (lineEnd < 0) lineEnd = text.length;
    const blank = text.indexOf(' ');
    const target = text.slice(blank + 1, lineEnd - 9);
    const isOld = text.startsWith(' HTTP/1.0', lineEnd - 9);
    if (!isOld && !text.startsWith(' HTTP/1.1', lineEnd - 9)) {
      const other = / HTTP\/[0-9]\.[0-9]$/.test(text.slice(0, lineEnd));
      throw new RequestSyntaxError('the request line is malformed or of another version', other ? 505 : 400);
    }
    const method = text.slice(0, blank);
    if (blank < 1 || blank > METHOD_CHARS || !TOKEN.test(method) || !VISIBLE.test(target)) {
      throw new RequestSyntaxError('the request line is malformed');
    }
    const headers: string[] = [];
    let length = -1;
    let chunked = false;
    let hosts = 0;
    let connection = '';
    let continues = false;
    for (let from = lineEnd + 2; from < text.length; from = lineEnd + 2) {
      lineEnd = text.indexOf('\r\n', from);
      if (lineEnd < 0) lineEnd = text.length;
      const colon = text.indexOf(':', from);
      if (colon < 0 || colon > lineEnd) throw new RequestSyntaxError('a header line has no colon');
      const name = text.slice(from, colon);
      const framing = framingOf(name);
      const value = trimmed(text, colon + 1, lineEnd);
      if (headers.push(name, value) > 2 * HEADERS_MOST)
        throw new RequestSyntaxError('there are too many headers', 431);
      if (framing === 'none') continue;
      if (framing === 'host') hosts++;
      else if (framing === 'length') {
        if (length >= 0 || !LENGTH.test(value))
          throw new RequestSyntaxError('the content length is ambiguous');
        length = Number(value);
      } else if (framing === 'coding') {
        if (chunked || isOld || value.toLowerCase() !== 'chunked')
          throw new RequestSyntaxError('the transfer coding is not chunked');
        chunked = true;
      } else if (framing === 'connection') connection += `,${value}`;
      else {
        if (value.toLowerCase() !== '100-continue')
          throw new RequestSyntaxError('the expectation is not known', 417);
        continues = !isOld;
      }
    }
    if (chunked && length >= 0) throw new RequestSyntaxError('the length is stated in two ways');
    // RFC 9112 section 3.2.
    if (hosts > 1) throw new RequestSyntaxError('there is more than one Host header');
    if (hosts === 0 && !isOld) throw new RequestSyntaxError('there is no Host header');
    const keepAlive = isOld ? lists(connection, 'keep-alive') : !lists(connection, 'close');
    if (chunked) {
      this.#state = 'chunk-size';
      this.#extensionChars = 0;
    } else {
      this.#state = length > 0 ? 'length' : 'done';
      this.#left = length;
    }
    const empty = this.#state === 'done';
    if (!this.#events.head({ method, target, headers, isOld, keepAlive, continues: continues && !empty })) {
      this.#state = 'left';
      this.#unread = `${text}\r\n\r\n`;
    } else if (empty) this.#events.complete();
  }

  /** A chunk's size line, the line break after its data, or the trailer: lines that end in CRLF. */
  #readFrame(bytes: Buffer, at: number): number {
    const limit = this.#state === 'trailer' ? TRAILER_CHARS : FRAME_CHARS;
    const fresh = bytes.toString('latin1', at, Math.min(bytes.length, at + limit + 2));
    const text = this.#held === '' ? fresh : this.#held + fresh;
    const end = text.indexOf('\r\n', Math.max(0, this.#held.length - 1));
    if (end > limit || (end < 0 && text.length > limit))
      throw new RequestSyntaxError('a chunk’s frame is too long');
    if (end < 0) {
      this.#held = text;
      return bytes.length;
    }
    const next = at + end + 2 - this.#held.length;
    this.#held = '';
    this.#takeFrame(text.slice(0, end));
    return next;
  }

  #takeFrame(line: string): void {
    if (this.#state === 'chunk-end') {
      if (line !== '') throw new RequestSyntaxError('a chunk is longer than it says');
      this.#state = 'chunk-size';
    } else if (this.#state === 'chunk-size') {
      const size = CHUNK_SIZE.exec(line)?.[1];
      if (size === undefined) throw new RequestSyntaxError('a chunk’s size is malformed');
      this.#extensionChars += line.length - size.length;
      if (this.#extensionChars > EXTENSION_CHARS)
        throw new RequestSyntaxError('the chunks’ extensions are too long');
      this.#left = Number.parseInt(size, 16);
      this.#state = this.#left === 0 ? 'trailer' : 'chunk-data';
      if (this.#left === 0) this.#trailerChars = 0;
    } else if (line === '') {
      this.#state = 'done';
      this.#events.complete();
    } else {
      this.#trailerChars += line.length;
      if (this.#trailerChars > TRAILER_CHARS) throw new RequestSyntaxError('the trailer is too long', 431);
      const colon = line.indexOf(':');
      if (colon < 1 || UNFIT.test(line) || !TOKEN.test(line.slice(0, colon)))
        throw new RequestSyntaxError('the trailer is malformed');
    }
  }
}

/** The text without the blanks around it (RFC 9110 section 5.5: space and tab). */
function trimmed(text: string, start: number, end: number): string {
  let [from, to] = [start, end];
  while (from < to && isBlank(text.charCodeAt(from))) from++;
  while (to > from && isBlank(text.charCodeAt(to - 1))) to--;
  return text.slice(from, to);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}

/** Whether a Connection header lists this option. */
function lists(connection: string, option: string): boolean {
  if (connection === '') return false;
  return connection
    .toLowerCase()
    .split(',')
    .some((one) => one.trim() === option);
}
