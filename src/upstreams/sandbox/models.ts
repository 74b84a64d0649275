// GET /v1/models and /v1/models/{model}.

import { findModel, SANDBOX_MODELS, type SandboxModel, splitModel } from './model.ts';
import { jsonReply, type Reply } from './plan.ts';

// 1 January 2026: the models do not change with time.
const CREATED = 1_767_225_600;

export function listModels(): Reply {
  return jsonReply({ object: 'list', data: SANDBOX_MODELS.map(objectOf) });
}

/** @throws {ApiError} 404 `model_not_found` */
export function retrieveModel(id: string): Reply {
  return jsonReply(objectOf(findModel(splitModel(id).name)));
}

function objectOf(model: SandboxModel) {
  return { id: model.id, object: 'model', created: CREATED, owned_by: 'keygate' };
}
