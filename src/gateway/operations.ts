// The operation table: every path and method of the data plane that keygate knows, with the scope that it asks for,
// where its model is named, and how its usage is read. What is not in the table is refused; what is in it but not
// served is refused too, and says why.
//
// Administration (`/v1/organization/…`, `/v1/projects/…`, `/v1/keygate/…`) is not here: src/access serves it.

import type { Permission } from '../access/permission-names.ts';
import type { Meter } from '../spend/meter/model.ts';

/** What the body is, and where in it the model is named. */
export type BodyKind = 'none' | 'json' | 'multipart';

/** What the operation has to do with objects that a provider keeps (stored responses). */
export type ObjectRule =
  | 'none'
  /** A success makes an object: its id belongs to the calling project from then on. */
  | 'creates'
  /** The first parameter of the path is such an object's id: another project's is 404. */
  | 'reads'
  | 'deletes';

export interface Operation {
  /** The SDK's name for it: `chat.completions.create`. */
  readonly name: string;
  readonly method: string;
  /** Below `/v1`, with `{}` for a parameter: `/models/{}`. */
  readonly path: string;
  /** What a key must be allowed (src/access/permission-names.ts). */
  readonly scope: Permission;
  readonly body: BodyKind;
  /** Whether the body must name a model. */
  readonly model: 'required' | 'optional' | 'none';
  /** How its usage is read from its reply, and from its stream. */
  readonly meter: Meter;
  readonly objects: ObjectRule;
  /** It keeps what it is given on a disk of ours (files, batches): refused where data retention is zero. */
  readonly keepsContent?: boolean;
  /** `provider`: forwarded. `here`: answered by keygate. `no`: known, and refused with a reason. */
  readonly served: 'provider' | 'here' | 'no';
}

const CHAT = 'api.model.request';
const IMAGES = 'api.model.images.request';
const AUDIO = 'api.model.audio.request';

function inference(name: string, path: string, meter: Meter, extra: Partial<Operation> = {}): Operation {
  return {
    name,
    method: 'POST',
    path,
    scope: CHAT,
    body: 'json',
    model: 'required',
    meter,
    objects: 'none',
    served: 'provider',
    ...extra,
  };
}

function stored(
  name: string,
  method: string,
  path: string,
  scope: Permission,
  objects: ObjectRule,
): Operation {
  return {
    name,
    method,
    path,
    scope,
    body: 'none',
    model: 'none',
    meter: 'none',
    objects,
    served: 'provider',
  };
}

/** Works on what keygate keeps itself for the project (src/batches). A `form` is read by whoever keeps it, as it comes. */
function kept(
  name: string,
  method: string,
  path: string,
  scope: Permission,
  extra: { readonly body?: 'json'; readonly keepsContent?: true } = {},
): Operation {
  return { ...stored(name, method, path, scope, 'none'), served: 'here', ...extra };
}

const KEPT: readonly Operation[] = [
  kept('files.create', 'POST', '/files', 'api.files.write', { keepsContent: true }),
  kept('files.list', 'GET', '/files', 'api.files.read'),
  kept('files.retrieve', 'GET', '/files/{}', 'api.files.read'),
  kept('files.delete', 'DELETE', '/files/{}', 'api.files.write'),
  kept('files.content', 'GET', '/files/{}/content', 'api.files.read'),
  kept('uploads.create', 'POST', '/uploads', 'api.files.write', { body: 'json', keepsContent: true }),
  kept('uploads.parts.create', 'POST', '/uploads/{}/parts', 'api.files.write', { keepsContent: true }),
  kept('uploads.complete', 'POST', '/uploads/{}/complete', 'api.files.write', {
    body: 'json',
    keepsContent: true,
  }),
  kept('uploads.cancel', 'POST', '/uploads/{}/cancel', 'api.files.write'),
  kept('batches.create', 'POST', '/batches', 'api.batch.write', { body: 'json', keepsContent: true }),
  kept('batches.list', 'GET', '/batches', 'api.batch.read'),
  kept('batches.retrieve', 'GET', '/batches/{}', 'api.batch.read'),
  kept('batches.cancel', 'POST', '/batches/{}/cancel', 'api.batch.write'),
];

const SERVED: readonly Operation[] = [
  inference('chat.completions.create', '/chat/completions', 'chat'),
  inference('completions.create', '/completions', 'completions'),
  inference('responses.create', '/responses', 'responses', {
    scope: 'api.responses.write',
    objects: 'creates',
  }),
  inference('responses.inputTokens.count', '/responses/input_tokens', 'none', {
    scope: 'api.responses.write',
  }),
  inference('responses.compact', '/responses/compact', 'responses', { scope: 'api.responses.write' }),
  stored('responses.retrieve', 'GET', '/responses/{}', 'api.responses.read', 'reads'),
  stored('responses.delete', 'DELETE', '/responses/{}', 'api.responses.write', 'deletes'),
  stored('responses.inputItems.list', 'GET', '/responses/{}/input_items', 'api.responses.read', 'reads'),
  inference('embeddings.create', '/embeddings', 'embeddings', { scope: 'api.model.embeddings.request' }),
  inference('moderations.create', '/moderations', 'moderations', {
    scope: 'api.model.moderations.request',
    model: 'optional',
  }),
  inference('images.generate', '/images/generations', 'images', { scope: IMAGES }),
  inference('images.edit', '/images/edits', 'images', { scope: IMAGES, body: 'multipart' }),
  inference('images.createVariation', '/images/variations', 'images', { scope: IMAGES, body: 'multipart' }),
  inference('audio.speech.create', '/audio/speech', 'speech', { scope: AUDIO }),
  inference('audio.transcriptions.create', '/audio/transcriptions', 'transcription', {
    scope: AUDIO,
    body: 'multipart',
  }),
  inference('audio.translations.create', '/audio/translations', 'transcription', {
    scope: AUDIO,
    body: 'multipart',
  }),
  {
    ...stored('models.list', 'GET', '/models', 'api.model.read', 'none'),
    served: 'here',
  },
  {
    ...stored('models.retrieve', 'GET', '/models/{}', 'api.model.read', 'none'),
    served: 'here',
  },
];

/**
 * Operations of the published API that work on objects kept under the provider's one account. Until such objects
 * are told apart by project, serving these would let one project read another's.
 */
const NOT_SERVED: readonly (readonly [methods: string, path: string])[] = [
  ['GET POST', '/assistants'],
  ['GET POST DELETE', '/assistants/{}'],
  ['POST', '/audio/voices'],
  ['DELETE', '/audio/voices/{}'],
  ['GET POST', '/audio/voice_consents'],
  ['GET POST DELETE', '/audio/voice_consents/{}'],
  ['GET', '/chat/completions'],
  ['GET POST DELETE', '/chat/completions/{}'],
  ['GET', '/chat/completions/{}/messages'],
  ['POST', '/chatkit/sessions'],
  ['POST', '/chatkit/sessions/{}/cancel'],
  ['GET', '/chatkit/threads'],
  ['GET DELETE', '/chatkit/threads/{}'],
  ['GET', '/chatkit/threads/{}/items'],
  ['GET POST', '/containers'],
  ['GET DELETE', '/containers/{}'],
  ['GET POST', '/containers/{}/files'],
  ['GET DELETE', '/containers/{}/files/{}'],
  ['GET', '/containers/{}/files/{}/content'],
  ['POST', '/content_provenance_checks'],
  ['POST', '/conversations'],
  ['GET POST DELETE', '/conversations/{}'],
  ['GET POST', '/conversations/{}/items'],
  ['GET DELETE', '/conversations/{}/items/{}'],
  ['POST', '/decisions'],
  ['GET POST', '/evals'],
  ['GET POST DELETE', '/evals/{}'],
  ['GET POST', '/evals/{}/runs'],
  ['GET POST DELETE', '/evals/{}/runs/{}'],
  ['POST', '/evals/{}/runs/{}/cancel'],
  ['GET', '/evals/{}/runs/{}/output_items'],
  ['GET', '/evals/{}/runs/{}/output_items/{}'],
  ['POST', '/fine_tuning/alpha/graders/run'],
  ['POST', '/fine_tuning/alpha/graders/validate'],
  ['GET POST', '/fine_tuning/checkpoints/{}/permissions'],
  ['DELETE', '/fine_tuning/checkpoints/{}/permissions/{}'],
  ['GET POST', '/fine_tuning/jobs'],
  ['GET', '/fine_tuning/jobs/{}'],
  ['POST', '/fine_tuning/jobs/{}/cancel'],
  ['GET', '/fine_tuning/jobs/{}/checkpoints'],
  ['GET', '/fine_tuning/jobs/{}/events'],
  ['POST', '/fine_tuning/jobs/{}/pause'],
  ['POST', '/fine_tuning/jobs/{}/resume'],
  ['DELETE', '/models/{}'],
  ['POST', '/realtime/calls'],
  ['POST', '/realtime/calls/{}/accept'],
  ['POST', '/realtime/calls/{}/hangup'],
  ['POST', '/realtime/calls/{}/refer'],
  ['POST', '/realtime/calls/{}/reject'],
  ['POST', '/realtime/client_secrets'],
  ['POST', '/realtime/sessions'],
  ['POST', '/realtime/transcription_sessions'],
  ['POST', '/realtime/translations/client_secrets'],
  ['POST', '/responses/{}/cancel'],
  ['GET POST', '/skills'],
  ['GET POST DELETE', '/skills/{}'],
  ['GET', '/skills/{}/content'],
  ['GET POST', '/skills/{}/versions'],
  ['GET DELETE', '/skills/{}/versions/{}'],
  ['GET', '/skills/{}/versions/{}/content'],
  ['POST', '/threads'],
  ['POST', '/threads/runs'],
  ['GET POST DELETE', '/threads/{}'],
  ['GET POST', '/threads/{}/messages'],
  ['GET POST DELETE', '/threads/{}/messages/{}'],
  ['GET POST', '/threads/{}/runs'],
  ['GET POST', '/threads/{}/runs/{}'],
  ['POST', '/threads/{}/runs/{}/cancel'],
  ['GET', '/threads/{}/runs/{}/steps'],
  ['GET', '/threads/{}/runs/{}/steps/{}'],
  ['POST', '/threads/{}/runs/{}/submit_tool_outputs'],
  ['GET POST', '/vector_stores'],
  ['GET POST DELETE', '/vector_stores/{}'],
  ['POST', '/vector_stores/{}/search'],
  ['GET POST', '/vector_stores/{}/files'],
  ['GET POST DELETE', '/vector_stores/{}/files/{}'],
  ['GET', '/vector_stores/{}/files/{}/content'],
  ['POST', '/vector_stores/{}/file_batches'],
  ['GET', '/vector_stores/{}/file_batches/{}'],
  ['POST', '/vector_stores/{}/file_batches/{}/cancel'],
  ['GET', '/vector_stores/{}/file_batches/{}/files'],
  ['GET POST', '/videos'],
  ['GET DELETE', '/videos/{}'],
  ['GET', '/videos/{}/content'],
  ['POST', '/videos/{}/remix'],
  ['POST', '/videos/characters'],
  ['GET', '/videos/characters/{}'],
  ['POST', '/videos/edits'],
  ['POST', '/videos/extensions'],
];

/** The areas of operations that are not served, by how their paths begin. */
const AREAS: readonly (readonly [prefix: string, read: Permission, write: Permission])[] = [
  ['/assistants', 'api.assistants.read', 'api.assistants.write'],
  ['/audio/voice', 'api.voices.read', 'api.voices.write'],
  ['/batches', 'api.batch.read', 'api.batch.write'],
  ['/chat/completions', CHAT, CHAT],
  ['/chatkit', 'api.agents.read', 'api.agents.write'],
  ['/containers', 'api.containers.read', 'api.containers.write'],
  ['/conversations', 'api.responses.read', 'api.responses.write'],
  ['/evals', 'api.evals.read', 'api.evals.write'],
  ['/files', 'api.files.read', 'api.files.write'],
  ['/fine_tuning', 'api.fine_tuning.jobs.read', 'api.fine_tuning.jobs.write'],
  ['/models', 'api.model.read', 'api.fine_tuning.jobs.write'],
  ['/realtime', 'api.model.realtime.request', 'api.model.realtime.request'],
  ['/responses', 'api.responses.read', 'api.responses.write'],
  ['/skills', 'api.skills.read', 'api.skills.write'],
  ['/threads', 'api.threads.read', 'api.threads.write'],
  ['/uploads', 'api.files.read', 'api.files.write'],
  ['/vector_stores', 'api.vector_stores.read', 'api.vector_stores.write'],
  ['/videos', 'api.videos.read', 'api.videos.write'],
  ['/webhook', 'api.webhooks.read', 'api.webhooks.write'],
];

function scopeOf(method: string, path: string): Permission {
  const area = AREAS.find(([prefix]) => path.startsWith(prefix));
  if (area === undefined) return CHAT;
  return method === 'GET' ? area[1] : area[2];
}

function notServed(): Operation[] {
  return NOT_SERVED.flatMap(([methods, path]) =>
    methods.split(' ').map(
      (method): Operation => ({
        name: `${method} ${path}`,
        method,
        path,
        scope: scopeOf(method, path),
        body: 'none',
        model: 'none',
        meter: 'none',
        objects: 'none',
        served: 'no',
      }),
    ),
  );
}

export const OPERATIONS: readonly Operation[] = Object.freeze([...SERVED, ...KEPT, ...notServed()]);

export type Match =
  | { readonly found: Operation; readonly parameters: readonly string[] }
  /** The path is known, the method is not. */
  | 'method'
  | 'unknown';

const NO_PARAMETERS: readonly string[] = Object.freeze([]);
const MAX_SEGMENTS = 8;

type Node = { readonly children: Map<string, Node>; readonly methods: Map<string, Operation> };

/** Paths without a parameter, and what each method on them is. */
const exact = new Map<string, Map<string, Match>>();
const root: Node = node();

for (const operation of OPERATIONS) {
  if (!operation.path.includes('{}')) {
    const methods = exact.get(operation.path) ?? new Map<string, Match>();
    methods.set(operation.method, { found: operation, parameters: NO_PARAMETERS });
    exact.set(operation.path, methods);
  }
  let at = root;
  for (const segment of operation.path.slice(1).split('/')) {
    let next = at.children.get(segment);
    if (next === undefined) {
      next = node();
      at.children.set(segment, next);
    }
    at = next;
  }
  at.methods.set(operation.method, operation);
}

function node(): Node {
  return { children: new Map(), methods: new Map() };
}

/**
 * Finds the operation for a method and a path.
 * @param path below `/v1`, without a query, as it stands in the request line; parameters are not decoded
 */
export function matchOperation(method: string, path: string): Match {
  return exact.get(path)?.get(method) ?? matchSegments(method, path);
}

function matchSegments(method: string, path: string): Match {
  const segments = path.split('/', MAX_SEGMENTS + 2);
  if (segments.length < 2 || segments.length > MAX_SEGMENTS + 1) return 'unknown';
  const parameters: string[] = [];
  let at = root;
  for (let i = 1; i < segments.length; i++) {
    const segment = segments[i] ?? '';
    const named = segment === '{}' ? undefined : at.children.get(segment);
    const next = named ?? (segment === '' ? undefined : at.children.get('{}'));
    if (next === undefined) return 'unknown';
    if (named === undefined) parameters.push(segment);
    at = next;
  }
  const found = at.methods.get(method);
  if (found !== undefined) return { found, parameters };
  return at.methods.size > 0 ? 'method' : 'unknown';
}
