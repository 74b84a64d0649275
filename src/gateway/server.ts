// The listeners. A request goes to the road, to the Administration API, or to one of three small answers: /healthz
// (the process lives), /readyz (it can serve) and /metrics (administration side, with an admin key).

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Bounds } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { EXPOSITION_TYPE } from '../platform/exposition.ts';
import { Entrance } from './http1/entrance.ts';
import { NodePeer } from './node-peer.ts';
import type { Peer } from './peer.ts';
import { unknownUrl } from './receive.ts';
import { refuseSocket } from './reply.ts';

/** Longer than the idle time of common load balancers, so that they let go of a connection first. */
const KEEP_ALIVE_MS = 75_000;
const HEADERS_MS = 30_000;
const CONNECTIONS_A_CALL = 4;

const ADMINISTRATION = ['/v1/organization', '/v1/projects', '/v1/keygate'] as const;
/** Of a project, with its own keys: where its calls are taken, and answered by the control plane. */
const OF_PROJECTS = ['/v1/webhook_endpoints', '/v1/webhook_event_types'] as const;

export interface Doors {
  /** The data plane. */
  readonly road: (peer: Peer) => void;
  /** The Administration API. */
  readonly administration: (request: IncomingMessage, response: ServerResponse) => void;
  /** POST /oauth/token */
  readonly token: (request: IncomingMessage, response: ServerResponse) => void;
  /** Resolves with what is wrong, or null when the server can serve. */
  readonly readiness: () => Promise<string | null>;
  /** The exposition, or a refusal for a key without the right. */
  readonly metrics: (request: IncomingMessage) => string | ApiError;
}

/** Which doors a listener has: all of them, or, where administration has a listener of its own, its part. */
export type Side = 'both' | 'data' | 'administration';

/** A server, and how it is stopped. */
export interface Listener {
  readonly server: Server;
  /** Takes no more connections, and keeps none beyond the reply under way. */
  stop(): void;
  closeAll(): void;
}

export function listener(doors: Doors, bounds: Bounds, side: Side, clock: Clock): Listener {
  const headMs = Math.min(HEADERS_MS, bounds.idleMs);
  const server = createServer(
    {
      maxHeaderSize: bounds.headerBytes,
      headersTimeout: headMs,
      // The road's sweep ends calls whose body idles; a bound on the whole body would end slow uploads that are well.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => dispatch(doors, side, request, response),
  );
  server.maxConnections = bounds.inFlight * CONNECTIONS_A_CALL;
  server.on('clientError', refuseUnreadable);
  const entrance = new Entrance(server, {
    clock,
    headerBytes: bounds.headerBytes,
    headMs,
    idleMs: KEEP_ALIVE_MS,
    isRoads: (target) => doorOf(target, side) === 'road',
    take: doors.road,
  });
  return {
    server,
    stop: () => {
      server.close();
      server.closeIdleConnections();
      entrance.stop();
    },
    closeAll: () => {
      server.closeAllConnections();
      entrance.closeAll();
    },
  };
}

type Door = 'road' | 'administration' | 'token' | 'alive' | 'ready' | 'metrics' | 'none';

/** Which door a request's target leads to. */
function doorOf(target: string, side: Side): Door {
  const control = controlDoorOf(target);
  if (control !== null) return side === 'data' && control === 'administration' ? 'none' : 'administration';
  if (target === '/healthz') return 'alive';
  if (target === '/readyz') return 'ready';
  if (target === '/metrics' && side !== 'data') return 'metrics';
  if (side === 'administration') return 'none';
  return target === '/oauth/token' ? 'token' : 'road';
}

function dispatch(doors: Doors, side: Side, request: IncomingMessage, response: ServerResponse): void {
  const target = request.url ?? '';
  switch (doorOf(target, side)) {
    case 'road':
      return doors.road(new NodePeer(request, response));
    case 'administration':
      return ambiguous(request) ? refuseTwoHosts(response) : doors.administration(request, response);
    case 'token':
      return ambiguous(request) ? refuseTwoHosts(response) : doors.token(request, response);
    case 'alive':
      return answerText(response, 200, 'application/json', '{"status":"ok"}');
    case 'ready':
      return answerReadiness(doors, response);
    case 'metrics': {
      const text = doors.metrics(request);
      return text instanceof ApiError
        ? answerError(response, text)
        : answerText(response, 200, EXPOSITION_TYPE, text);
    }
    case 'none':
      return answerError(response, unknownUrl(request.method ?? '', target));
  }
}

/** Null: it is not the control plane's. */
function controlDoorOf(target: string): 'administration' | 'project' | null {
  // Most calls are told apart by their fourth character on: /v1/chat, /v1/responses, /v1/embeddings.
  switch (target.charCodeAt(4)) {
    case 0x6f: // o
    case 0x70: // p
    case 0x6b: // k
      return ADMINISTRATION.some((prefix) => isBelow(target, prefix)) ? 'administration' : null;
    case 0x77: // w
      return OF_PROJECTS.some((prefix) => isBelow(target, prefix)) ? 'project' : null;
    default:
      return null;
  }
}

function isBelow(target: string, prefix: string): boolean {
  const next = target.charAt(prefix.length);
  return target.startsWith(prefix) && (next === '' || next === '/' || next === '?');
}

/** Whether two parsers could route this request differently (RFC 9112 section 3.2). */
function ambiguous(request: IncomingMessage): boolean {
  return request.rawHeaders.filter((name, at) => at % 2 === 0 && name.toLowerCase() === 'host').length > 1;
}

function refuseTwoHosts(response: ServerResponse): void {
  answerError(response, new ApiError(400, 'The request has more than one Host header.'));
}

function answerReadiness(doors: Doors, response: ServerResponse): void {
  doors.readiness().then(
    (wrong) => {
      const body = JSON.stringify(
        wrong === null ? { status: 'ready' } : { status: 'not ready', reason: wrong },
      );
      answerText(response, wrong === null ? 200 : 503, 'application/json', body);
    },
    () => answerText(response, 503, 'application/json', '{"status":"not ready"}'),
  );
}

function answerError(response: ServerResponse, refusal: ApiError): void {
  answerText(response, refusal.status, 'application/json', JSON.stringify(refusal.body()));
}

function answerText(response: ServerResponse, status: number, type: string, text: string): void {
  response.writeHead(status, ['content-type', type, 'content-length', String(Buffer.byteLength(text))]);
  response.end(text);
}

/** What Node's parser refused, answered in the API's shape. */
function refuseUnreadable(error: NodeJS.ErrnoException, socket: Duplex): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  if (error.code === 'HPE_HEADER_OVERFLOW') {
    refuseSocket(socket, new ApiError(431, 'The request headers are larger than this server takes.'));
  } else if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    refuseSocket(socket, new ApiError(408, 'The request headers did not arrive in time.'));
  } else refuseSocket(socket, new ApiError(400, 'The request is not well-formed HTTP.'));
}
