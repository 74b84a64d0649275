// From a request to the plan by which it is answered: the route, the script, the endpoint. Pure but for the ids
// that it draws and the little that a setting remembers; no socket and no time passes here.

import { createHash } from 'node:crypto';
import { ApiError } from '../../platform/errors.ts';
import { isBearable, MOST_DEPTH, MOST_VALUES } from '../../spend/count-weight.ts';
import { speech, transcription } from './audio.ts';
import { chat } from './chat.ts';
import { completions } from './completions.ts';
import { embeddings } from './embeddings.ts';
import { images } from './images.ts';
import type { Form, Inquiry } from './inquiry.ts';
import { type ModelKind, modelFor, splitModel } from './model.ts';
import { listModels, retrieveModel } from './models.ts';
import { moderations } from './moderations.ts';
import { errorReply, type Plan, planFor, type Reply, scriptedRefusal } from './plan.ts';
import { badRequest } from './refusal.ts';
import { inputTokens, responses } from './responses.ts';
import { NO_SCRIPT, parseScript, type Script } from './script.ts';
import type { Setting } from './setting.ts';

export interface SandboxRequest {
  readonly method: string;
  /** The path with its version, and without its query: `/v1/chat/completions`. */
  readonly path: string;
  /** The script header's text; empty for none. */
  readonly script: string;
  readonly body: Uint8Array;
  /** Where the body is a multipart form: what it holds. */
  readonly form: Form | null;
}

interface Endpoint {
  readonly kind: ModelKind;
  readonly run: (inquiry: Inquiry, setting: Setting) => Reply;
}

const ENDPOINTS: Readonly<Record<string, Endpoint>> = {
  '/v1/chat/completions': { kind: 'chat', run: chat },
  '/v1/completions': { kind: 'chat', run: completions },
  '/v1/responses': { kind: 'chat', run: responses },
  '/v1/responses/input_tokens': { kind: 'chat', run: inputTokens },
  '/v1/embeddings': { kind: 'embedding', run: embeddings },
  '/v1/moderations': { kind: 'moderation', run: moderations },
  '/v1/images/generations': { kind: 'image', run: images },
  '/v1/audio/speech': { kind: 'audio', run: speech },
  '/v1/audio/transcriptions': {
    kind: 'audio',
    run: (inquiry, at) => transcription(inquiry, at, 'transcribe'),
  },
  '/v1/audio/translations': { kind: 'audio', run: (inquiry, at) => transcription(inquiry, at, 'translate') },
};

/** Never throws for anything that a request holds: a refusal is a plan too. */
export function answer(request: SandboxRequest, setting: Setting): Plan {
  try {
    return plan(request, setting);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    return planFor(errorReply(error), NO_SCRIPT);
  }
}

function plan(request: SandboxRequest, setting: Setting): Plan {
  if (request.path === '/v1/models' || request.path.startsWith('/v1/models/')) return modelsPlan(request);
  const endpoint = Object.hasOwn(ENDPOINTS, request.path) ? ENDPOINTS[request.path] : undefined;
  if (endpoint === undefined) throw unknownPath(request);
  if (request.method !== 'POST') throw wrongMethod(request);

  const body = request.form === null ? parse(request.body) : undefined;
  const named =
    request.form === null ? Reflect.get(Object(body), 'model') : request.form.fields.get('model')?.[0];
  const { name, script: suffix } = splitModel(typeof named === 'string' ? named : '');
  const script = struck(parseScript(suffix, request.script), request, setting);
  const served = modelFor(name, endpoint.kind);
  const refusal = scriptedRefusal(script.fault, served.id);
  const inquiry = { body, form: request.form, model: name, served, own: name === served.id, script };
  const reply = refusal === null ? endpoint.run(inquiry, setting) : errorReply(refusal);
  const made = planFor(reply, script);
  return { ...made, headers: { ...made.headers, 'x-sandbox-model': served.id } };
}

function modelsPlan(request: SandboxRequest): Plan {
  if (request.method !== 'GET') throw wrongMethod(request);
  const id = request.path.slice('/v1/models/'.length);
  return planFor(id === '' ? listModels() : retrieveModel(decoded(id)), parseScript('', request.script));
}

function decoded(id: string): string {
  try {
    return decodeURIComponent(id);
  } catch {
    return id;
  }
}

function parse(body: Uint8Array): unknown {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  if (!isBearable(bytes)) {
    throw badRequest(
      `The JSON body has more than ${MOST_VALUES} values, or is nested deeper than ${MOST_DEPTH} levels: the sandbox does not take it.`,
      null,
      null,
    );
  }
  try {
    return JSON.parse(bytes.toString());
  } catch {
    throw badRequest(
      'We could not parse the JSON body of your request. (HINT: the API expects a JSON payload, but what was sent was not valid JSON.)',
      null,
      null,
    );
  }
}

/** The script without its fault, once that has met as many of these same requests as it was to meet. */
function struck(script: Script, request: SandboxRequest, setting: Setting): Script {
  if (script.times === null) return script;
  const hash = createHash('sha256').update(`${request.path}\n${request.script}\n`).update(request.body);
  for (const [name, values] of request.form?.fields ?? []) hash.update(`${name}=${values.join()}\n`);
  const key = hash.digest('base64');
  const strikes = setting.strikes.get(key) ?? 0;
  if (strikes < script.times) {
    setting.strikes.set(key, strikes + 1);
    return script;
  }
  setting.strikes.delete(key);
  return { ...script, fault: null };
}

function unknownPath({ method, path }: SandboxRequest): ApiError {
  return new ApiError(404, `Invalid URL (${method} ${path.slice(0, 200)})`);
}

function wrongMethod({ method, path }: SandboxRequest): ApiError {
  return new ApiError(
    405,
    `Not allowed to ${method} on ${path}. (HINT: Perhaps you meant to use a different HTTP method?)`,
    { code: 'method_not_supported' },
  );
}
