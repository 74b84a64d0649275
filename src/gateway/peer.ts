// The other end of a call, seen from the road: the head of its request, its body as it comes, and the way back.
//
// There are two: requests that were read by the parser of http1/, which is the road's own, and requests of connections
// that node:http serves, because they began with a page of the administration (node-peer.ts). The road cannot tell.

import type { Socket } from 'node:net';

/** Takes a request's body as it comes. */
export interface BodySink {
  data(chunk: Buffer): void;
  end(): void;
}

/** Told what becomes of the reply. */
export interface Watcher {
  /** The caller has read what waited for it: more may be written. */
  drained(): void;
  /** The connection has let go of the call: the reply is out, or the caller went away. Said once. */
  gone(): void;
}

export interface Peer {
  readonly method: string;
  /** The request's target as it stands in the request line. */
  readonly target: string;
  /** As they came, flat: name, value. */
  readonly headers: readonly string[];
  readonly socket: Socket;
  /** Whether the head of the reply has been written. */
  readonly begun: boolean;
  /** Bytes of the reply that the caller has not taken yet. */
  readonly unsent: number;

  /** Once, before anything else. */
  watch(watcher: Watcher): void;
  /** At most once. Of a body that nobody reads the rest is dropped. */
  readBody(sink: BodySink): void;
  /** No more of the body until `resumeBody`: it is not read as fast as it comes. */
  pauseBody(): void;
  resumeBody(): void;
  /** Ends the connection with this reply. */
  keepNoMore(): void;

  // The reply. `lines` are header lines, each ended by CRLF, without the length and without those of the connection. Bytes
  // are sent or copied before these return: their memory is the giver's.

  /** The whole reply. */
  answer(status: number, lines: string, body: Buffer): void;
  /** Its head; -1 for a length that is not known. */
  begin(status: number, lines: string, length: number): void;
  /** Returns whether more may come now; otherwise `drained` says when. */
  write(chunk: Buffer): boolean;
  end(last: Buffer | null): void;
  /** Breaks the connection off: what has been written was not all. */
  destroy(): void;
}
