// The other end of a call that no connection brought: a line of a batch. Its body is there at once, and its reply is kept.

import { Socket } from 'node:net';
import type { BodySink, Peer, Watcher } from './peer.ts';

/** It is connected to nothing: it only stands where a caller's socket does. */
const NOWHERE = new Socket({ readable: false, writable: false });
/** A reply beyond this is not kept: the call is broken off. */
const REPLY_BYTES = 32 * 1024 * 1024;

export class OrderPeer implements Peer {
  readonly method = 'POST';
  readonly target: string;
  readonly headers: readonly string[];
  readonly socket = NOWHERE;
  readonly unsent = 0;
  begun = false;
  status = 0;
  /** The header lines of the reply. */
  lines = '';
  /** Whether the whole reply came. */
  complete = false;

  readonly #body: Buffer;
  readonly #parts: Buffer[] = [];
  #bytes = 0;
  #watcher: Watcher | null = null;
  #over = false;

  constructor(target: string, body: Buffer, idempotencyKey: string) {
    this.target = target;
    this.#body = body;
    this.headers = ['content-type', 'application/json', 'idempotency-key', idempotencyKey];
  }

  /** The body of the reply. */
  reply(): Buffer {
    return Buffer.concat(this.#parts, this.#bytes);
  }

  watch(watcher: Watcher): void {
    this.#watcher = watcher;
  }

  readBody(sink: BodySink): void {
    process.nextTick(() => {
      sink.data(this.#body);
      sink.end();
    });
  }

  pauseBody(): void {}

  resumeBody(): void {}

  keepNoMore(): void {}

  answer(status: number, lines: string, body: Buffer): void {
    this.begin(status, lines, body.length);
    this.end(body);
  }

  begin(status: number, lines: string, _length: number): void {
    this.begun = true;
    this.status = status;
    this.lines = lines;
  }

  write(chunk: Buffer): boolean {
    this.#bytes += chunk.length;
    if (this.#bytes > REPLY_BYTES) this.destroy();
    else this.#parts.push(Buffer.from(chunk));
    return true;
  }

  end(last: Buffer | null): void {
    if (last !== null) this.write(last);
    if (this.#over) return;
    this.complete = true;
    this.#leave();
  }

  destroy(): void {
    this.#leave();
  }

  #leave(): void {
    if (this.#over) return;
    this.#over = true;
    // Not at once: whoever ends the reply has yet to note that it is over.
    process.nextTick(() => this.#watcher?.gone());
  }
}
