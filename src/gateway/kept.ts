// The operations that work on what keygate keeps itself, files and batches: handed to whoever keeps it, and answered.

import { Readable } from 'node:stream';
import type { KeptAnswer, KeptCall, KeptHandler } from '../batches/model.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { Call } from './call.ts';
import { answer, headerLines, internalError, replyLines } from './reply.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

/** By the operation's name. */
export type KeptHandlers = ReadonlyMap<string, KeptHandler>;

export interface KeptParts {
  readonly clock: Clock;
  readonly complain: (error: unknown) => void;
}

/** Goes on when it is answered. */
export function answerKept(call: Call, handler: KeptHandler, parts: KeptParts, resume: Resume): Verdict {
  const gone = new AbortController();
  call.abort = (reason) => gone.abort(reason);
  handler(keptCall(call, gone.signal, parts.clock))
    .then((given) => send(call, given, parts))
    .then(
      () => resume(call, null),
      (error: unknown) => {
        if (call.over) return resume(call, null);
        if (!(error instanceof ApiError) && !gone.signal.aborted) parts.complain(error);
        resume(call, error instanceof ApiError ? error : faultOf(call));
      },
    );
  return LATER;
}

function faultOf(call: Call): ApiError {
  return call.expired ? new ApiError(408, 'The call took longer than this server allows.') : internalError();
}

function keptCall(call: Call, signal: AbortSignal, clock: Clock): KeptCall {
  const { caller, head, parameters, query, json, at } = call;
  if (caller === null) throw new Error('answer before authorize');
  call.json = null;
  return {
    owner: caller,
    parameters,
    query,
    json,
    contentType: head.contentType,
    contentLength: head.contentLength === null ? null : Number(head.contentLength),
    at,
    body: () => bodyOf(call, signal, clock),
    signal,
  };
}

/** The request's body as it comes: the caller is held up where it sends faster than it is read. */
function bodyOf(call: Call, signal: AbortSignal, clock: Clock): Readable {
  const { peer } = call;
  const body = new Readable({ signal, read: () => peer.resumeBody() });
  peer.readBody({
    data: (chunk) => {
      call.active = clock.monotonic();
      if (!body.push(chunk)) peer.pauseBody();
    },
    end: () => void body.push(null),
  });
  return body;
}

async function send(call: Call, given: KeptAnswer, { clock, complain }: KeptParts): Promise<void> {
  if (call.over) return;
  if (given.kind === 'json') return answer(call, clock, 200, given.value);
  const { peer } = call;
  const pieces = given.pieces[Symbol.asyncIterator]();
  // The first piece before the head: what cannot be read at all is refused in words.
  let piece = await pieces.next();
  const lines = headerLines([
    'content-type',
    'application/octet-stream',
    'content-disposition',
    `attachment; filename*=UTF-8''${encodeURIComponent(given.filename)}`,
  ]);
  call.status = 200;
  peer.begin(200, replyLines(call, clock) + lines, given.length);
  try {
    while (piece.done !== true) {
      if (call.over) return;
      call.active = clock.monotonic();
      if (!peer.write(Buffer.from(piece.value))) await drained(call);
      piece = await pieces.next();
    }
  } catch (error) {
    // The head is out and promises more: only a broken connection can say that this is not all.
    complain(error);
    call.over = true;
    peer.destroy();
    return;
  } finally {
    await pieces.return?.();
  }
  call.over = true;
  peer.end(null);
}

/** The caller has read what there was, or is gone. */
async function drained(call: Call): Promise<void> {
  call.paused = true;
  await new Promise<void>((resolve) => {
    call.onDrained = resolve;
  });
}
