// The listeners. A request goes to the road, to the Administration API, or to one of three small answers: /healthz
// (the process lives), /readyz (it can serve) and /metrics (administration side, with an admin key).

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Bounds } from '../config/model.ts';
import { ApiError } from '../platform/errors.ts';
import { EXPOSITION_TYPE } from '../platform/exposition.ts';
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

export function listener(doors: Doors, bounds: Bounds, side: Side): Server {
  const server = createServer(
    {
      maxHeaderSize: bounds.headerBytes,
      headersTimeout: Math.min(HEADERS_MS, bounds.idleMs),
      // The road's sweep ends calls whose body idles; a bound on the whole body would end slow uploads that are well.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => dispatch(doors, side, request, response),
  );
  server.maxConnections = bounds.inFlight * CONNECTIONS_A_CALL;
  server.on('clientError', refuseUnreadable);
  return server;
}

function dispatch(doors: Doors, side: Side, request: IncomingMessage, response: ServerResponse): void {
  const target = request.url ?? '';
  const door = doorOf(target);
  if (door !== null) {
    if (side === 'data' && door === 'administration')
      return answerError(response, unknownUrl(request.method ?? '', target));
    return ambiguous(request) ? refuseTwoHosts(response) : doors.administration(request, response);
  }
  if (target === '/healthz') return answerText(response, 200, 'application/json', '{"status":"ok"}');
  if (target === '/readyz') return answerReadiness(doors, response);
  if (target === '/metrics' && side !== 'data') {
    const text = doors.metrics(request);
    return text instanceof ApiError
      ? answerError(response, text)
      : answerText(response, 200, EXPOSITION_TYPE, text);
  }
  if (side === 'administration') return answerError(response, unknownUrl(request.method ?? '', target));
  if (target === '/oauth/token') {
    return ambiguous(request) ? refuseTwoHosts(response) : doors.token(request, response);
  }
  doors.road(new NodePeer(request, response));
}

/** Null: it is a call, for the road. */
function doorOf(target: string): 'administration' | 'project' | null {
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
