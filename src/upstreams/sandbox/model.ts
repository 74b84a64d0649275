// The sandbox's models, and which of them answers for the name that a request asked for.

import { ApiError } from '../../platform/errors.ts';

export type ModelKind = 'chat' | 'embedding' | 'image' | 'audio' | 'moderation';

export interface SandboxModel {
  readonly id: string;
  readonly kind: ModelKind;
  /** Prompt and reply together, in tokens; for an embedding, of one input. */
  readonly contextTokens: number;
  /** The longest reply, in tokens. */
  readonly maxOutputTokens: number;
}

export const SANDBOX_MODELS: readonly SandboxModel[] = [
  { id: 'sandbox-small', kind: 'chat', contextTokens: 128_000, maxOutputTokens: 16_384 },
  { id: 'sandbox-large', kind: 'chat', contextTokens: 1_000_000, maxOutputTokens: 131_072 },
  { id: 'sandbox-embed', kind: 'embedding', contextTokens: 8_192, maxOutputTokens: 0 },
  { id: 'sandbox-image', kind: 'image', contextTokens: 32_000, maxOutputTokens: 65_536 },
  { id: 'sandbox-audio', kind: 'audio', contextTokens: 16_000, maxOutputTokens: 2_000 },
  { id: 'sandbox-moderation', kind: 'moderation', contextTokens: 32_768, maxOutputTokens: 0 },
];

// The largest of its kind, so that a real model's name is never refused for a size that the real one would take.
const STANDS_IN: Readonly<Record<ModelKind, string>> = {
  chat: 'sandbox-large',
  embedding: 'sandbox-embed',
  image: 'sandbox-image',
  audio: 'sandbox-audio',
  moderation: 'sandbox-moderation',
};

/** `sandbox-small:429,retry-after=2s` → its model and its script. Only the sandbox's own names carry a script. */
export function splitModel(asked: string): { readonly name: string; readonly script: string } {
  const colon = asked.startsWith('sandbox-') ? asked.indexOf(':') : -1;
  return colon < 0
    ? { name: asked, script: '' }
    : { name: asked.slice(0, colon), script: asked.slice(colon + 1) };
}

/**
 * The model that answers. A name that is none of the sandbox's own (`gpt-5`, your alias, none at all) is answered
 * by the sandbox's model for the endpoint.
 *
 * @throws {ApiError} 404 for an unknown `sandbox-…` name; the API's refusal for one that another endpoint serves.
 */
export function modelFor(name: string, kind: ModelKind): SandboxModel {
  const own = name.startsWith('sandbox-');
  const model = findModel(own ? name : STANDS_IN[kind]);
  if (model.kind !== kind) throw wrongEndpoint(model, kind);
  return model;
}

/** @throws {ApiError} 404 `model_not_found` */
export function findModel(name: string): SandboxModel {
  const model = SANDBOX_MODELS.find((each) => each.id === name);
  if (model) return model;
  throw new ApiError(404, `The model \`${name}\` does not exist or you do not have access to it.`, {
    code: 'model_not_found',
    param: 'model',
  });
}

function wrongEndpoint(model: SandboxModel, kind: ModelKind): ApiError {
  if (kind === 'embedding')
    return new ApiError(403, 'You are not allowed to generate embeddings from this model');
  if (kind === 'chat') {
    return new ApiError(
      404,
      `The model \`${model.id}\` does not make text: ask sandbox-small or sandbox-large.`,
      {
        code: 'model_not_found',
        param: 'model',
      },
    );
  }
  return new ApiError(400, `Invalid value: '${model.id}'. Supported values are: '${STANDS_IN[kind]}'.`, {
    code: 'invalid_value',
    param: 'model',
  });
}
