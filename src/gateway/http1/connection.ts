// One caller's connection: HTTP/1.1 over a socket, one request at a time; what a caller sends ahead waits its turn.
//
// Why not node:http: its objects for a request and a reply are half of what a call costs here (measured), and most of
// what they can do is not needed. What must be right, where a request ends, is in request-parser.ts.
//
// A request that is not the road's is handed to node:http with the connection (see entrance.ts).
//
// Replies leave at the end of the turn. When the caller reads slowly, `write` says so, and `drained` follows. A reply
// whose request is still coming is sent at once; the rest of the body is read and dropped, for a moment: a socket that
// is closed with bytes unread is reset, and then the caller would not get to read its refusal.

import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { atEndOfTurn, type Flushed } from '../../platform/end-of-turn.ts';
import { ApiError } from '../../platform/errors.ts';
import type { BodySink, Peer, Watcher } from '../peer.ts';
import { refuseSocket } from '../reply.ts';
import { type RequestEvents, type RequestHead, RequestParser, RequestSyntaxError } from './request-parser.ts';

/** What a connection is part of. */
export interface Owner {
  readonly headerBytes: number;
  /** No connection is to be kept beyond its reply. */
  readonly stopping: boolean;
  /** Monotonic, to about a second. */
  readonly now: number;
  /** The Date header's line. */
  readonly dateLine: string;
  isRoads(target: string): boolean;
  /** Takes the request on; it will be answered. */
  take(peer: Peer): void;
  /** The socket is to be served by node:http from now on; what was read of it has been put back. */
  handOver(socket: Socket): void;
  left(connection: Connection): void;
}

/** `fresh`: nothing came yet. `head`: a request is beginning. `idle`: between two. `dropping`, `closing`: see above. */
type State = 'fresh' | 'head' | 'call' | 'idle' | 'dropping' | 'closing';

/** Bytes that may wait before the provider is paused. */
const HIGH_WATER = 64 * 1024;
const COPIED_BYTES = 64 * 1024;

const statusLines = new Map<number, string>();

function statusLine(status: number): string {
  let line = statusLines.get(status);
  if (line === undefined) {
    line = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n`;
    statusLines.set(status, line);
  }
  return line;
}

export class Connection implements RequestEvents, Flushed {
  state: State = 'fresh';
  /** When it came to this state, by the clock of its owner. */
  since: number;

  readonly #socket: Socket;
  readonly #owner: Owner;
  readonly #parser: RequestParser;
  #request: Request | null = null;
  /** What leaves at the end of the turn: bytes, as latin1 text. */
  #out = '';
  #queued = false;
  /** `write` said that no more may come. */
  #isFull = false;
  /** Bytes that came before their turn. */
  #ahead: Buffer[] = [];
  /** Nobody wanted more of a body. */
  #isPaused = false;
  /** The caller has sent its last byte. */
  #ended = false;

  constructor(socket: Socket, owner: Owner) {
    this.#socket = socket;
    this.#owner = owner;
    this.#parser = new RequestParser(this, owner.headerBytes);
    this.since = owner.now;
    socket.on('data', this.#onData);
    socket.on('end', this.#onEnd);
    socket.on('drain', this.#onDrain);
    socket.on('error', this.#onError);
    socket.on('close', this.#onClose);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Answers what could not become a call, and closes. */
  refuse(refusal: ApiError): void {
    this.#become('closing');
    refuseSocket(this.#socket, refusal);
  }

  // What the parser says.

  head(head: RequestHead): boolean {
    if (!this.#owner.isRoads(head.target)) return false;
    this.#become('call');
    const request = new Request(this, head, this.#socket);
    this.#request = request;
    if (!head.keepAlive || this.#owner.stopping) request.isLast = true;
    this.#owner.take(request);
    return true;
  }

  data(chunk: Buffer): void {
    if (this.#request?.take(chunk) !== false) return;
    this.#isPaused = true;
    this.#socket.pause();
  }

  complete(): void {
    const request = this.#request;
    if (request === null) {
      if (this.state === 'dropping') this.#ready();
      return;
    }
    request.isComplete = true;
    request.sink?.end();
  }

  /** The body is wanted now, or no longer. */
  resume(): void {
    this.#isPaused = false;
    if (this.#ahead.length === 0) this.#socket.resume();
  }

  // What the request says.

  continue(): void {
    this.#socket.write('HTTP/1.1 100 Continue\r\n\r\n', 'latin1');
  }

  headOf(request: Request, status: number, lines: string, length: number): void {
    // A caller that still waits for leave to send its body may send it or not: what comes next could be either.
    if (request.awaitsLeave && !request.isComplete) request.isLast = true;
    const how = request.isLast || this.#owner.stopping ? 'close' : 'keep-alive\r\nkeep-alive: timeout=75';
    const framed = isBodyless(status)
      ? ''
      : length >= 0
        ? `content-length: ${length}\r\n`
        : request.isChunked
          ? 'transfer-encoding: chunked\r\n'
          : '';
    this.#put(`${statusLine(status)}${lines}${this.#owner.dateLine}connection: ${how}\r\n${framed}\r\n`);
  }

  bytes(chunk: Buffer): void {
    if (chunk.length < COPIED_BYTES) return this.#put(chunk.toString('latin1'));
    this.#send();
    if (!this.#socket.destroyed) this.#socket.write(Buffer.from(chunk));
    this.#queue();
  }

  text(text: string): void {
    this.#put(text);
  }

  /** Whether more may come now. */
  room(): boolean {
    if (this.#out.length + this.#socket.writableLength < HIGH_WATER) return true;
    this.#isFull = true;
    this.#queue();
    return false;
  }

  get unsent(): number {
    return this.#out.length + this.#socket.writableLength;
  }

  /** The reply is complete. */
  finished(): void {
    this.#queue();
  }

  flush(): void {
    this.#queued = false;
    this.#send();
    const request = this.#request;
    if (request === null || this.#socket.destroyed) return;
    if (request.isAnswered) {
      if (this.#socket.writableLength === 0) this.#replied(request);
      else this.#socket.write('', () => this.#replied(request));
    } else if (this.#isFull && !this.#socket.writableNeedDrain) this.#onDrain();
  }

  #put(text: string): void {
    this.#out += text;
    this.#queue();
  }

  #queue(): void {
    if (this.#queued) return;
    this.#queued = true;
    atEndOfTurn(this);
  }

  #send(): void {
    if (this.#out === '') return;
    const out = this.#out;
    this.#out = '';
    if (!this.#socket.destroyed) this.#socket.write(out, 'latin1');
  }

  /** The last byte of the reply has left. */
  #replied(request: Request): void {
    if (this.#request !== request) return;
    this.#letGo();
    if (request.isLast || this.#ended || this.#owner.stopping) this.#close();
    else if (this.#parser.done) this.#ready();
    else {
      this.#become('dropping');
      this.resume();
    }
  }

  /** The request has no say here any more, and its watcher learns it. */
  #letGo(): void {
    const request = this.#request;
    if (request === null) return;
    this.#request = null;
    request.isGone = true;
    request.watcher?.gone();
  }

  #close(): void {
    this.#become('closing');
    this.#socket.end();
    this.#socket.resume();
  }

  /** Another request may come. */
  #ready(): void {
    this.#become('idle');
    this.#parser.next();
    // A body that nobody wanted held the connection up.
    if (this.#isPaused) this.resume();
    if (this.#ahead.length === 0) return;
    const ahead = this.#ahead.length === 1 ? this.#ahead[0] : Buffer.concat(this.#ahead);
    this.#ahead = [];
    if (ahead !== undefined) this.#take(ahead);
    if (this.#ahead.length === 0) this.#socket.resume();
  }

  #take(bytes: Buffer): void {
    try {
      const taken = this.#parser.push(bytes);
      const unread = this.#parser.unread;
      if (unread !== null) return this.#leave(Buffer.concat([unread, bytes.subarray(taken)]));
      if (this.state === 'fresh' || this.state === 'idle') this.#become('head');
      if (taken < bytes.length) this.#wait(bytes.subarray(taken));
    } catch (error) {
      this.#unreadable(error);
    }
  }

  #wait(bytes: Buffer): void {
    this.#ahead.push(bytes);
    this.#socket.pause();
  }

  #unreadable(error: unknown): void {
    const isAnswered = this.#request?.begun === true || this.state === 'dropping';
    this.#letGo();
    if (!(error instanceof RequestSyntaxError)) {
      this.#socket.destroy();
      throw error;
    }
    if (isAnswered) return this.#close();
    const message =
      error.status === 431
        ? 'The request headers are larger than this server takes.'
        : `The request is not well-formed HTTP: ${error.message}.`;
    this.refuse(new ApiError(error.status, message));
  }

  /** The request is not the road's. */
  #leave(bytes: Buffer): void {
    const socket = this.#socket;
    socket.pause();
    socket.off('data', this.#onData);
    socket.off('end', this.#onEnd);
    socket.off('drain', this.#onDrain);
    socket.off('error', this.#onError);
    socket.off('close', this.#onClose);
    socket.unshift(bytes);
    this.#owner.left(this);
    this.#owner.handOver(socket);
  }

  #become(state: State): void {
    this.state = state;
    this.since = this.#owner.now;
  }

  readonly #onData = (bytes: Buffer): void => {
    if (this.state === 'closing') return;
    if (this.#parser.done || this.#ahead.length > 0) this.#wait(bytes);
    else this.#take(bytes);
  };

  /** The caller has closed its side. As long as its reply is not complete that means that it is gone. */
  readonly #onEnd = (): void => {
    this.#ended = true;
    if (this.#request !== null && !this.#request.isAnswered) this.#socket.destroy();
    else if (this.#request === null && this.state !== 'closing') this.#close();
  };

  readonly #onDrain = (): void => {
    if (!this.#isFull) return;
    this.#isFull = false;
    this.#request?.watcher?.drained();
  };

  /** `close` follows. */
  readonly #onError = (): void => {};

  readonly #onClose = (): void => {
    this.#owner.left(this);
    this.#letGo();
  };
}

/** RFC 9110 sections 15.3.5 and 15.4.5. */
function isBodyless(status: number): boolean {
  return status === 204 || status === 304;
}

/** One request, and the way back. It outlives its turn on the connection without harm: then it says nothing more. */
class Request implements Peer {
  readonly method: string;
  readonly target: string;
  readonly headers: readonly string[];
  readonly socket: Socket;
  begun = false;
  watcher: Watcher | null = null;
  sink: BodySink | null = null;
  /** The whole request has come. */
  isComplete = false;
  /** The whole reply has been written. */
  isAnswered = false;
  /** The connection has let go of it. */
  isGone = false;
  isLast = false;
  /** Its caller waits for `100 Continue`. */
  awaitsLeave: boolean;
  isChunked = false;
  /** What came of the body before anybody asked for it. */
  #early: Buffer[] = [];
  /** Whoever reads the body wants no more of it for now. */
  #isHeld = false;
  readonly #connection: Connection;
  readonly #isOld: boolean;

  constructor(connection: Connection, head: RequestHead, socket: Socket) {
    this.#connection = connection;
    this.method = head.method;
    this.target = head.target;
    this.headers = head.headers;
    this.socket = socket;
    this.awaitsLeave = head.continues;
    this.#isOld = head.isOld;
  }

  get unsent(): number {
    return this.isGone ? 0 : this.#connection.unsent;
  }

  watch(watcher: Watcher): void {
    this.watcher = watcher;
  }

  readBody(sink: BodySink): void {
    if (this.isGone) return;
    this.sink = sink;
    if (this.awaitsLeave) this.#connection.continue();
    this.awaitsLeave = false;
    for (const chunk of this.#early) sink.data(chunk);
    if (this.#early.length > 0 && !this.#isHeld) this.#connection.resume();
    this.#early = [];
    if (this.isComplete) sink.end();
  }

  /** Takes a piece of the body. False: nobody asks for it yet, and no more should come. */
  take(chunk: Buffer): boolean {
    this.awaitsLeave = false;
    if (this.sink !== null) this.sink.data(chunk);
    if (this.sink !== null || this.begun) return !this.#isHeld || this.begun;
    this.#early.push(chunk);
    return false;
  }

  pauseBody(): void {
    this.#isHeld = true;
  }

  resumeBody(): void {
    if (!this.#isHeld) return;
    this.#isHeld = false;
    if (!this.isGone) this.#connection.resume();
  }

  keepNoMore(): void {
    this.isLast = true;
  }

  answer(status: number, lines: string, body: Buffer): void {
    if (this.isGone) return;
    if (this.begun) throw new Error('a second reply to one request');
    this.begun = true;
    this.#connection.headOf(this, status, lines, body.length);
    if (this.#hasBody(status)) this.#connection.bytes(body);
    this.#finish();
  }

  begin(status: number, lines: string, length: number): void {
    if (this.isGone) return;
    if (this.begun) throw new Error('a second reply to one request');
    this.begun = true;
    this.isChunked = length < 0 && !this.#isOld && this.#hasBody(status);
    // Without a length or chunks only the end of the connection says that this was all.
    if (length < 0 && !this.isChunked) this.isLast = true;
    this.#connection.headOf(this, status, lines, length);
  }

  write(chunk: Buffer): boolean {
    if (this.isGone) return true;
    this.#write(chunk);
    return this.#connection.room();
  }

  end(last: Buffer | null): void {
    if (this.isGone) return;
    if (last !== null) this.#write(last);
    if (this.isChunked) this.#connection.text('0\r\n\r\n');
    this.#finish();
  }

  destroy(): void {
    if (!this.isGone) this.#connection.destroy();
  }

  #write(chunk: Buffer): void {
    // A chunk of no bytes would end the reply.
    if (chunk.length === 0 || this.method === 'HEAD') return;
    if (!this.isChunked) return this.#connection.bytes(chunk);
    this.#connection.text(`${chunk.length.toString(16)}\r\n`);
    this.#connection.bytes(chunk);
    this.#connection.text('\r\n');
  }

  #hasBody(status: number): boolean {
    return this.method !== 'HEAD' && !isBodyless(status);
  }

  #finish(): void {
    this.isAnswered = true;
    this.#connection.finished();
  }
}
