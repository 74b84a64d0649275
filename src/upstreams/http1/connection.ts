// One connection to a provider, with one call at a time: HTTP/1.1 over TCP, TLS or a Unix socket.
//
// Why not a client library: on the road the client is most of the cost of a call (measured beside undici: a quarter
// less CPU, a third less memory), and a gateway needs little of what one does: no redirects, no retries, no decoding,
// no pipelining. What it must get right, the framing of answers, is in response-parser.ts.
//
// A connection is used again only when the answer was complete, the request had left completely, and nothing came
// after it. Whatever else happens ends it.

import { connect as connectTcp, type LookupFunction, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { atEndOfTurn, type Flushed } from '../../platform/end-of-turn.ts';
import { type ResponseHead, ResponseParser } from './response-parser.ts';

export interface Origin {
  readonly secure: boolean;
  readonly host: string;
  readonly port: number;
  /** The Host header's value. */
  readonly authority: string;
  /** A Unix socket to connect to in place of host and port. */
  readonly socketPath?: string;
}

export interface ConnectOptions {
  readonly lookup: LookupFunction;
  /** How long connecting may take, in milliseconds. */
  readonly connectMs: number;
  /** The longest head of an answer, in bytes. */
  readonly headBytes: number;
  /** The newest TLS session of this origin, so that the next connection resumes it (RFC 8446 section 2.2). */
  readonly tls: { session?: Buffer };
}

/** Who makes a call: told of its answer. After `complete` or `failed` nothing more comes. */
export interface Exchange {
  head(head: ResponseHead): void;
  /**
   * @param chunk the bytes are the connection's again when this returns: what is kept of them is copied
   * @returns whether more may come now; otherwise the connection waits until `Connection.resume`
   */
  data(chunk: Buffer): boolean;
  complete(): void;
  failed(error: Error): void;
}

export class ConnectionError extends Error {
  override readonly name = 'ConnectionError';
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** Requests up to this leave as one string, head and body in one write; longer bodies are not copied. */
const ONE_WRITE_BYTES = 64 * 1024;
/** A server that says when it lets go of an idle connection is believed, less this margin. */
const KEEP_ALIVE_MARGIN_MS = 1_000;
const UNSAFE = /[\r\n\0]/;

/**
 * All connections without TLS read into the same memory, one after the other: a buffer a read would be 64 KB of it a call, for the
 * collector to follow and the C library to cut (measured: a twentieth of the CPU time of a call).
 */
const READ = Buffer.allocUnsafeSlow(64 * 1024);

export class Connection implements Flushed {
  /** When it became idle, on the owner's clock, and how long it may stay so. */
  idleSince = 0;
  idleMs: number;
  closed = false;

  readonly #origin: Origin;
  readonly #options: ConnectOptions;
  readonly #onClosed: (connection: Connection) => void;
  readonly #parser: ResponseParser;
  #socket: Socket | null = null;
  #exchange: Exchange | null = null;
  /** A request that leaves at the end of this turn: its head, and its body if that is short. */
  #text = '';
  #body: Buffer | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(
    origin: Origin,
    options: ConnectOptions,
    idleMs: number,
    onClosed: (connection: Connection) => void,
  ) {
    this.#origin = origin;
    this.#options = options;
    this.idleMs = idleMs;
    this.#onClosed = onClosed;
    this.#parser = new ResponseParser(this, options.headBytes);
  }

  /**
   * Sends a request; the answer goes to `exchange`.
   * @param head the request line and headers, each line ended by CRLF, without Host, Content-Length and the empty line
   */
  send(method: string, head: string, body: Buffer | null, exchange: Exchange): void {
    this.#exchange = exchange;
    this.#parser.expect(method);
    if (this.#socket === null) this.#connect();
    const length = body === null ? '' : `content-length: ${body.length}\r\n`;
    const text = `${head}host: ${this.#origin.authority}\r\n${length}\r\n`;
    // As a string the head and the body leave in one write; latin1 maps each byte to itself. Long bodies are not copied.
    const short = body !== null && body.length <= ONE_WRITE_BYTES;
    this.#text = short ? text + body.toString('latin1') : text;
    this.#body = short ? null : body;
    atEndOfTurn(this);
  }

  flush(): void {
    const socket = this.#socket;
    if (this.closed || socket === null || this.#text === '') return;
    const [text, body] = [this.#text, this.#body];
    this.#text = '';
    this.#body = null;
    if (body === null) {
      socket.write(text, 'latin1');
      return;
    }
    socket.cork();
    socket.write(text, 'latin1');
    socket.write(body);
    socket.uncork();
  }

  /** The exchange can take more. */
  resume(): void {
    this.#socket?.resume();
  }

  /** Ends the call under way, and with it the connection. The exchange is told `failed` with this error. */
  abort(error: Error): void {
    this.#fail(error);
  }

  /** Closes an idle connection, or breaks the call that it carries. */
  destroy(): void {
    this.#fail(new ConnectionError('ECONNCLOSED', 'the connection was closed'));
  }

  // What the parser says.

  head(head: ResponseHead): void {
    for (let i = 0; i < head.headers.length; i += 2) {
      if (head.headers[i] === 'keep-alive') this.#believe(head.headers[i + 1] ?? '');
    }
    this.#exchange?.head(head);
  }

  data(chunk: Buffer): void {
    if (this.#exchange?.data(chunk) === false) this.#socket?.pause();
  }

  complete(reusable: boolean): void {
    const exchange = this.#exchange;
    this.#exchange = null;
    // A caller that was slow may have left the socket paused; an idle one must notice its peer's close.
    if (reusable && this.#socket?.writableLength === 0) this.#socket.resume();
    else this.#end();
    exchange?.complete();
  }

  #connect(): void {
    const { secure, host, port, socketPath } = this.#origin;
    const { lookup, connectMs, tls } = this.#options;
    const onread = {
      buffer: READ,
      callback: (count: number) => {
        this.#received(READ.subarray(0, count));
        return true;
      },
    };
    const socket =
      socketPath !== undefined
        ? connectTcp({ path: socketPath, onread })
        : secure
          ? connectTls({
              host,
              port,
              lookup,
              servername: serverName(host),
              ALPNProtocols: ['http/1.1'],
              ...tls,
            })
          : connectTcp({ host, port, lookup, onread });
    socket.setNoDelay(true);
    this.#socket = socket;
    this.#timer = setTimeout(() => {
      this.#fail(new ConnectionError('ETIMEDOUT', 'connecting took too long'));
    }, connectMs);
    socket.once(secure && socketPath === undefined ? 'secureConnect' : 'connect', () => this.#stopTimer());
    socket.on('session', (session: Buffer) => {
      tls.session = session;
    });
    socket.on('end', () => this.#ended());
    // Where the bytes come by `onread`, the stream still has to flow to its end. TLS gives its own buffers out.
    if (secure && socketPath === undefined) socket.on('data', (bytes: Buffer) => this.#received(bytes));
    else socket.resume();
    socket.on('error', (error: Error) => this.#fail(error));
    socket.on('close', () =>
      this.#fail(new ConnectionError('ECONNRESET', 'the provider closed the connection')),
    );
  }

  #received(bytes: Buffer): void {
    if (this.closed) return;
    if (this.#text !== '') {
      return this.#fail(new ConnectionError('EBADRESPONSE', 'an answer came before its request was sent'));
    }
    try {
      this.#parser.push(bytes);
    } catch (error) {
      this.#fail(
        error instanceof Error ? error : new ConnectionError('EBADRESPONSE', 'the answer is malformed'),
      );
    }
  }

  #ended(): void {
    if (this.closed || this.#parser.closed()) return;
    this.#fail(new ConnectionError('ECONNRESET', 'the provider closed the connection'));
  }

  #fail(error: Error): void {
    if (this.closed) return;
    const exchange = this.#exchange;
    this.#exchange = null;
    this.#end();
    exchange?.failed(error);
  }

  #end(): void {
    this.closed = true;
    this.#stopTimer();
    this.#socket?.destroy();
    this.#onClosed(this);
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #believe(keepAlive: string): void {
    const seconds = /(?:^|[,\s])timeout=([0-9]{1,6})/i.exec(keepAlive)?.[1];
    if (seconds !== undefined)
      this.idleMs = Math.min(this.idleMs, Math.max(0, Number(seconds) * 1000 - KEEP_ALIVE_MARGIN_MS));
  }
}

/** TLS server names are names: an address has none (RFC 6066 section 3). */
function serverName(host: string): string {
  return /^[0-9.]+$|:/.test(host) ? '' : host;
}

/** One header line of a request. Throws on what would end the line early: it would begin another header. */
export function headerLine(name: string, value: string): string {
  if (UNSAFE.test(value) || UNSAFE.test(name))
    throw new ConnectionError('EBADHEADER', `the value of ${name} cannot be sent`);
  return `${name}: ${value}\r\n`;
}

/** The request line. Throws on a target that would not stay one. */
export function requestLine(method: string, path: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is looked for
  if (/[\x00-\x20\x7f]/.test(path))
    throw new ConnectionError('EBADTARGET', 'the request target cannot be sent');
  return `${method} ${path} HTTP/1.1\r\n`;
}
