// Files, uploads and batches as the published API shows them. Times are seconds.

import type { BatchTable, FileTable, UploadPartTable, UploadTable } from '../store/schema-files.ts';

const seconds = (ms: number): number => Math.floor(ms / 1000);
const secondsOrNull = (ms: number | null): number | null => (ms === null ? null : seconds(ms));

export function fileObject(file: FileTable) {
  return {
    id: file.id,
    object: 'file',
    bytes: file.bytes,
    created_at: seconds(file.created_at),
    expires_at: secondsOrNull(file.expires_at),
    filename: file.filename,
    purpose: file.purpose,
    status: 'processed',
    status_details: null,
  };
}

export function uploadObject(upload: UploadTable, nowMs: number, file: FileTable | null = null) {
  const late = upload.status === 'pending' && upload.expires_at <= nowMs;
  return {
    id: upload.id,
    object: 'upload',
    bytes: upload.bytes,
    created_at: seconds(upload.created_at),
    filename: upload.filename,
    purpose: upload.purpose,
    status: late ? 'expired' : upload.status,
    expires_at: seconds(upload.expires_at),
    file: file === null ? null : fileObject(file),
  };
}

export function partObject(part: UploadPartTable) {
  return {
    id: part.id,
    object: 'upload.part',
    created_at: seconds(part.created_at),
    upload_id: part.upload_id,
  };
}

export function batchObject(batch: BatchTable) {
  const { errors, metadata } = batch;
  return {
    id: batch.id,
    object: 'batch',
    endpoint: batch.endpoint,
    model: batch.model,
    errors: errors === null ? null : { object: 'list', data: parsed(errors) },
    input_file_id: batch.input_file_id,
    completion_window: batch.completion_window,
    status: batch.status,
    output_file_id: batch.output_file_id,
    error_file_id: batch.error_file_id,
    created_at: seconds(batch.created_at),
    in_progress_at: secondsOrNull(batch.in_progress_at),
    expires_at: seconds(batch.expires_at),
    finalizing_at: secondsOrNull(batch.finalizing_at),
    completed_at: secondsOrNull(batch.completed_at),
    failed_at: secondsOrNull(batch.failed_at),
    expired_at: secondsOrNull(batch.expired_at),
    cancelling_at: secondsOrNull(batch.cancelling_at),
    cancelled_at: secondsOrNull(batch.cancelled_at),
    request_counts: { total: batch.total, completed: batch.completed, failed: batch.failed },
    usage: {
      input_tokens: batch.input_tokens,
      input_tokens_details: { cached_tokens: batch.cached_tokens },
      output_tokens: batch.output_tokens,
      output_tokens_details: { reasoning_tokens: batch.reasoning_tokens },
      total_tokens: batch.input_tokens + batch.output_tokens,
    },
    metadata: metadata === null ? null : parsed(metadata),
  };
}

function parsed(json: string): unknown {
  return JSON.parse(json);
}

export function listObject<T extends { readonly id: string }>(data: readonly T[], hasMore: boolean) {
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: hasMore,
  };
}
