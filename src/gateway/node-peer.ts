// A call on a connection that node:http serves.

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { BodySink, Peer, Watcher } from './peer.ts';

const ONE_WRITE_BYTES = 64 * 1024;
const DRAIN_MS = 5_000;

export class NodePeer implements Peer {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  #watcher: Watcher | null = null;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
  }

  get method(): string {
    return this.#request.method ?? '';
  }

  get target(): string {
    return this.#request.url ?? '';
  }

  get headers(): readonly string[] {
    return this.#request.rawHeaders;
  }

  get socket(): Socket {
    return this.#request.socket;
  }

  get begun(): boolean {
    return this.#response.headersSent;
  }

  get unsent(): number {
    return this.#response.writableLength;
  }

  watch(watcher: Watcher): void {
    this.#watcher = watcher;
    this.#response.on('close', () => watcher.gone());
  }

  readBody(sink: BodySink): void {
    this.#request.on('data', (chunk: Buffer) => sink.data(chunk));
    this.#request.on('end', () => sink.end());
  }

  pauseBody(): void {
    this.#request.pause();
  }

  resumeBody(): void {
    this.#request.resume();
  }

  keepNoMore(): void {
    this.#response.shouldKeepAlive = false;
  }

  answer(status: number, lines: string, body: Buffer): void {
    if (!this.#request.complete) this.#drainAfter();
    this.begin(status, lines, body.length);
    // As a string the head and the body leave in one write; latin1 maps each byte to itself. Long bodies are not copied.
    if (body.length < ONE_WRITE_BYTES) this.#response.end(body.toString('latin1'), 'latin1');
    else this.#response.end(Buffer.from(body));
  }

  begin(status: number, lines: string, length: number): void {
    const headers: string[] = [];
    for (let from = 0; from < lines.length; ) {
      const colon = lines.indexOf(':', from);
      const end = lines.indexOf('\r\n', colon);
      headers.push(lines.slice(from, colon), lines.slice(colon + 1, end).trim());
      from = end + 2;
    }
    if (length >= 0) headers.push('content-length', String(length));
    this.#response.writeHead(status, headers);
  }

  write(chunk: Buffer): boolean {
    if (this.#response.write(Buffer.from(chunk))) return true;
    this.#response.once('drain', () => this.#watcher?.drained());
    return false;
  }

  end(last: Buffer | null): void {
    if (last === null) this.#response.end();
    else this.#response.end(Buffer.from(last));
  }

  destroy(): void {
    this.#response.destroy();
  }

  /**
   * Lets the rest of a refused body run out, for a moment: a socket that is closed with bytes unread is reset, and then
   * a caller in the middle of sending would not get to read the refusal. Node reads and drops the rest by itself once
   * the reply is out; what is added here is the end of its patience.
   */
  #drainAfter(): void {
    const request = this.#request;
    const timer = setTimeout(() => request.socket.destroy(), DRAIN_MS).unref();
    request.on('close', () => clearTimeout(timer));
  }
}
