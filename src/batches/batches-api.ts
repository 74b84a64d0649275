// client.batches: create, retrieve, list, cancel.

import { z } from 'zod';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { Store } from '../store/store.ts';
import { findFile } from './files.ts';
import {
  BATCH_ENDPOINTS,
  BATCH_ENDPOINTS_NOT_SERVED,
  COMPLETION_WINDOW,
  COMPLETION_WINDOW_MS,
  jsonAnswer,
  type KeptCall,
  type KeptHandler,
  noSuchBatch,
  refused,
} from './model.ts';
import { batchObject, listObject } from './objects.ts';
import { ExpiresAfter, Metadata, Query, read } from './parameters.ts';
import { type BatchRow, findBatch, listBatches } from './store.ts';

const LIST_MOST = 100;
const LIST_STANDARD = 20;

const CreateBody = z.strictObject({
  input_file_id: z.string().min(1).max(128),
  endpoint: z.string(),
  completion_window: z.literal(COMPLETION_WINDOW),
  metadata: Metadata.nullable().optional(),
  output_expires_after: ExpiresAfter.nullable().optional(),
});

export interface BatchesParts {
  readonly store: Store;
  readonly clock: Clock;
}

export function batchesApi(parts: BatchesParts): ReadonlyMap<string, KeptHandler> {
  const { store } = parts;
  const own = async ({ owner, parameters }: KeptCall): Promise<BatchRow> => {
    const id = parameters[0] ?? '';
    const batch = await findBatch(store.db, owner.project.id, id);
    if (batch === undefined) throw noSuchBatch(id);
    return batch;
  };
  return new Map<string, KeptHandler>([
    ['batches.create', async (call) => jsonAnswer(batchObject(await createBatch(parts, call)))],
    ['batches.retrieve', async (call) => jsonAnswer(batchObject(await own(call)))],
    [
      'batches.list',
      async ({ owner, query: text }) => {
        const query = new Query(text);
        const after = query.text('after');
        const limit = query.limit(LIST_MOST, LIST_STANDARD);
        const place = after === null ? null : await findBatch(store.db, owner.project.id, after);
        if (place === undefined)
          throw refused('after', "Invalid 'after': no batch of this list has this id.");
        const rows = await listBatches(store.db, owner.project.id, place, limit);
        return jsonAnswer(listObject(rows.slice(0, limit).map(batchObject), rows.length > limit));
      },
    ],
    ['batches.cancel', async (call) => jsonAnswer(batchObject(await cancelBatch(parts, await own(call))))],
  ]);
}

async function createBatch({ store, clock }: BatchesParts, { owner, json }: KeptCall): Promise<BatchRow> {
  const body = read(CreateBody, json);
  const endpoint = readEndpoint(body.endpoint);
  const at = clock.now();
  const file = await findFile(store.db, owner.project.id, body.input_file_id, at);
  if (file === undefined)
    throw refused('input_file_id', `Invalid 'input_file_id': no such File object in this project.`);
  if (file.purpose !== 'batch')
    throw refused(
      'input_file_id',
      `Invalid 'input_file_id': the file was uploaded with purpose '${file.purpose}', not 'batch'.`,
    );
  const key = await store.db
    .selectFrom('api_keys')
    .select('id')
    .where('id', '=', owner.keyId)
    .executeTakeFirst();
  if (key === undefined)
    throw new ApiError(
      403,
      'A batch runs for longer than an access token lives: make it with an API key of the project.',
      { code: 'api_key_required' },
    );
  const row: BatchRow = {
    id: newId('batch_'),
    organization_id: owner.organizationId,
    project_id: owner.project.id,
    key_id: owner.keyId,
    endpoint,
    input_file_id: file.id,
    completion_window: body.completion_window,
    model: null,
    status: 'validating',
    errors: null,
    metadata: body.metadata ? JSON.stringify(body.metadata) : null,
    output_seconds: body.output_expires_after?.seconds ?? null,
    total: 0,
    completed: 0,
    failed: 0,
    input_tokens: 0,
    cached_tokens: 0,
    output_tokens: 0,
    reasoning_tokens: 0,
    queue_tokens: 0,
    created_at: at,
    expires_at: at + COMPLETION_WINDOW_MS,
    in_progress_at: null,
    finalizing_at: null,
    completed_at: null,
    failed_at: null,
    expired_at: null,
    cancelling_at: null,
    cancelled_at: null,
    output_file_id: null,
    error_file_id: null,
    lease: null,
    lease_until: null,
  };
  await store.write(async (tx) => {
    await tx.insertInto('batches').values(row).execute();
    await store.announce(tx, 'batch', row.id, at);
  });
  return row;
}

function readEndpoint(given: string): string {
  const known = BATCH_ENDPOINTS.find((endpoint) => endpoint === given);
  if (known !== undefined) return known;
  throw refused(
    'endpoint',
    BATCH_ENDPOINTS_NOT_SERVED.includes(given)
      ? `This server's batches do not serve ${given}.`
      : `Invalid value: '${given.slice(0, 64)}'. Supported values are: '${BATCH_ENDPOINTS.join("', '")}'.`,
  );
}

async function cancelBatch({ store, clock }: BatchesParts, batch: BatchRow): Promise<BatchRow> {
  const at = clock.now();
  const cancelled = await store.write(async (tx) => {
    const row = await tx
      .updateTable('batches')
      .set({ status: 'cancelling', cancelling_at: at })
      .where('project_id', '=', batch.project_id)
      .where('id', '=', batch.id)
      .where('status', 'in', ['validating', 'in_progress'])
      .returningAll()
      .executeTakeFirst();
    if (row !== undefined) await store.announce(tx, 'batch', row.id, at);
    return row;
  });
  const now = cancelled ?? (await findBatch(store.db, batch.project_id, batch.id));
  if (now === undefined) throw noSuchBatch(batch.id);
  if (now.status === 'cancelling' || now.status === 'cancelled') return now;
  throw new ApiError(400, `Cannot cancel a batch with status '${now.status}'.`, {
    code: 'batch_not_cancellable',
  });
}
