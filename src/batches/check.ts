// Validating a batch's input file before anything of it is sent: every line, so that whoever made it learns of all that is
// wrong with it at once (of the first hundred things).

import { sizeOfJson } from '../limits/estimate.ts';
import type { Meter } from '../spend/meter/model.ts';
import { embeddingInputs, type InputLine, requestIn, TOO_MANY_EMBEDDINGS } from './lines.ts';
import { BATCH_EMBEDDINGS, BATCH_LINES, type BatchEndpoint, type BatchError } from './model.ts';

const ERRORS_MOST = 100;

/** How the prompt of each endpoint's requests is measured. */
const METERS: Readonly<Record<BatchEndpoint, Meter>> = {
  '/v1/responses': 'responses',
  '/v1/chat/completions': 'chat',
  '/v1/embeddings': 'embeddings',
  '/v1/completions': 'completions',
  '/v1/moderations': 'moderations',
  '/v1/images/generations': 'images',
};

export interface CheckedInput {
  readonly errors: readonly BatchError[];
  readonly total: number;
  readonly model: string | null;
  /** Prompt tokens of all requests together, as estimated from their characters. */
  readonly tokens: number;
}

/** @param serves whether the batch's key reaches a provider for a model */
export async function checkInput(
  lines: AsyncIterable<InputLine>,
  endpoint: BatchEndpoint,
  serves: (model: string) => boolean,
): Promise<CheckedInput> {
  const errors: BatchError[] = [];
  const seen = new Set<string>();
  let total = 0;
  let tokens = 0;
  let inputs = 0;
  let model: string | null = null;
  for await (const line of lines) {
    if (++total > BATCH_LINES) {
      errors.push(whole('too_many_tasks', `A batch may have at most ${BATCH_LINES} requests.`));
      break;
    }
    if (errors.length >= ERRORS_MOST) break;
    const request = requestIn(line, endpoint);
    if ('code' in request) {
      errors.push(request);
      continue;
    }
    const wrong = (code: string, message: string, param: string): void => {
      errors.push({ code, message, param, line: line.number });
    };
    const { customId, body } = request;
    if (seen.has(customId))
      wrong(
        'duplicate_custom_id',
        `The custom_id '${customId.slice(0, 100)}' for this request is a duplicate of another request. The custom_id parameter must be unique for each request in a batch.`,
        'custom_id',
      );
    seen.add(customId);
    const named = modelOf(body, endpoint);
    if (named === undefined)
      wrong('missing_required_parameter', "Missing required parameter: 'body.model'.", 'body.model');
    else if (model === null) {
      model = named;
      if (!serves(named))
        wrong(
          'model_not_found',
          `The provided model '${named.slice(0, 100)}' does not exist or you do not have access to it.`,
          'body.model',
        );
    } else if (named !== model)
      wrong(
        'model_mismatch',
        `The provided model '${named.slice(0, 100)}' is not the model of this batch, '${model}'. Each batch must only contain requests to one model.`,
        'body.model',
      );
    tokens += sizeOfJson(METERS[endpoint], body).prompt.likely;
    if (endpoint === '/v1/embeddings') inputs += embeddingInputs(body);
  }
  if (total === 0)
    errors.push(
      whole(
        'empty_file',
        'The input file is empty. Please ensure that the batch contains at least one request.',
      ),
    );
  if (inputs > BATCH_EMBEDDINGS) errors.push(whole('too_many_tasks', TOO_MANY_EMBEDDINGS));
  return { errors: errors.slice(0, ERRORS_MOST), total, model, tokens };
}

function whole(code: string, message: string): BatchError {
  return { code, message, param: null, line: null };
}

function modelOf(body: Readonly<Record<string, unknown>>, endpoint: BatchEndpoint): string | undefined {
  const { model } = body;
  if (typeof model === 'string' && model !== '') return model;
  return endpoint === '/v1/moderations' && model === undefined ? 'omni-moderation-latest' : undefined;
}
