// Where callers' connections come in. Each begins with the road's own reader; one whose next request is not the road's
// goes on with node:http, for good, which serves the administration, and the road too on such a connection.
//
// Time is watched by a sweep once a second, which is exact to that second and costs a call nothing: heads that do not
// arrive, connections that nobody uses, bodies that nobody reads, and closed ones whose caller does not let go.

import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import type { Clock } from '../../platform/clock.ts';
import { ApiError } from '../../platform/errors.ts';
import type { Peer } from '../peer.ts';
import { Connection, type Owner } from './connection.ts';

const SWEEP_MS = 1_000;
/** How long a refused body is read, and a closed connection is waited for. */
const PATIENCE_MS = 5_000;

export interface EntranceOptions {
  readonly clock: Clock;
  /** All headers of a request together. */
  readonly headerBytes: number;
  /** How long the head of a request may take from its first byte, and a connection may go unused. */
  readonly headMs: number;
  readonly idleMs: number;
  readonly isRoads: (target: string) => boolean;
  readonly take: (peer: Peer) => void;
}

export class Entrance implements Owner {
  stopping = false;
  now: number;
  dateLine: string;
  readonly headerBytes: number;
  readonly isRoads: (target: string) => boolean;
  readonly take: (peer: Peer) => void;
  readonly #options: EntranceOptions;
  readonly #connections = new Set<Connection>();
  readonly #sweeping: NodeJS.Timeout;
  readonly #serve: (socket: Socket) => void;

  /** Takes the place of node:http's own reader at a server that does not listen yet. */
  constructor(server: Server, options: EntranceOptions) {
    const [listener] = server.listeners('connection');
    if (listener === undefined) throw new Error('the server has no reader of its own');
    server.removeAllListeners('connection');
    server.on('connection', (socket: Socket) => {
      this.#connections.add(new Connection(socket, this));
    });
    this.#serve = (socket) => listener.call(server, socket);
    this.#options = options;
    this.headerBytes = options.headerBytes;
    this.isRoads = options.isRoads;
    this.take = options.take;
    this.now = options.clock.monotonic();
    this.dateLine = dateLine(options.clock.now());
    this.#sweeping = setInterval(() => this.sweep(), SWEEP_MS).unref();
  }

  /** Connections that the road's reader serves. */
  get size(): number {
    return this.#connections.size;
  }

  handOver(socket: Socket): void {
    this.#serve(socket);
    socket.resume();
  }

  left(connection: Connection): void {
    this.#connections.delete(connection);
  }

  /** Lets go of what is idle, and of each other connection after its reply. */
  stop(): void {
    this.stopping = true;
    for (const connection of [...this.#connections]) {
      if (connection.state === 'idle' || connection.state === 'fresh') connection.destroy();
    }
  }

  closeAll(): void {
    clearInterval(this.#sweeping);
    for (const connection of [...this.#connections]) connection.destroy();
  }

  /** Runs once a second by itself. */
  sweep(): void {
    const { clock, headMs, idleMs } = this.#options;
    this.now = clock.monotonic();
    this.dateLine = dateLine(clock.now());
    for (const connection of [...this.#connections]) {
      const waited = this.now - connection.since;
      switch (connection.state) {
        case 'call':
          break;
        case 'head':
          if (waited > headMs)
            connection.refuse(new ApiError(408, 'The request headers did not arrive in time.'));
          break;
        case 'fresh':
        case 'idle':
          if (waited > idleMs) connection.destroy();
          break;
        default:
          if (waited > PATIENCE_MS) connection.destroy();
      }
    }
  }
}

/** RFC 9110 section 6.6.1. */
function dateLine(ms: number): string {
  return `date: ${new Date(ms).toUTCString()}\r\n`;
}
