// The tables of files and batches, which keygate keeps itself. Whose an object is stands in its row: every look-up is by
// (project, id).

export interface FilesTables {
  files: FileTable;
  contents: ContentTable;
  content_drops: ContentDropTable;
  uploads: UploadTable;
  upload_parts: UploadPartTable;
  batches: BatchTable;
  batch_results: BatchResultTable;
}

export interface FileTable {
  id: string;
  organization_id: string;
  project_id: string;
  purpose: string;
  filename: string;
  bytes: number;
  created_at: number;
  /** Null: it stays until it is deleted. */
  expires_at: number | null;
}

/** What a file, or a part of an upload, holds: pieces of at most a megabyte, sealed, numbered from 0. */
export interface ContentTable {
  content_id: string;
  piece: number;
  bytes: Uint8Array;
}

/** Contents that belong to nothing: noted in the transaction that lets go of them, or before they are written. */
export interface ContentDropTable {
  content_id: string;
  /** Not before this: what is being written is noted too, so that a crash leaves nothing behind. */
  due_at: number;
}

export interface UploadTable {
  id: string;
  organization_id: string;
  project_id: string;
  filename: string;
  purpose: string;
  mime_type: string;
  bytes: number;
  status: 'pending' | 'completed' | 'cancelled';
  created_at: number;
  expires_at: number;
  /** How long the file will live, in seconds; null: as its purpose has it. */
  file_seconds: number | null;
  file_id: string | null;
}

export interface UploadPartTable {
  id: string;
  upload_id: string;
  bytes: number;
  created_at: number;
}

export type BatchStatus =
  | 'validating'
  | 'failed'
  | 'in_progress'
  | 'finalizing'
  | 'completed'
  | 'expired'
  | 'cancelling'
  | 'cancelled';

export interface BatchTable {
  id: string;
  organization_id: string;
  project_id: string;
  /** The key that made it: its lines run with this key's rights, for as long as it is valid. */
  key_id: string;
  endpoint: string;
  input_file_id: string;
  completion_window: string;
  model: string | null;
  status: BatchStatus;
  /** JSON list of the published batch errors; null: none. */
  errors: string | null;
  /** JSON object; null: none was given. */
  metadata: string | null;
  output_seconds: number | null;
  total: number;
  completed: number;
  failed: number;
  input_tokens: number;
  cached_tokens: number;
  output_tokens: number;
  reasoning_tokens: number;
  /** Prompt tokens that it holds of the queue's limits, as they were estimated. */
  queue_tokens: number;
  created_at: number;
  expires_at: number;
  in_progress_at: number | null;
  finalizing_at: number | null;
  completed_at: number | null;
  failed_at: number | null;
  expired_at: number | null;
  cancelling_at: number | null;
  cancelled_at: number | null;
  output_file_id: string | null;
  error_file_id: string | null;
  /** Who works on it; only while `lease_until` is ahead. */
  lease: string | null;
  lease_until: number | null;
}

/** What became of one line, until the batch's files are written. */
export interface BatchResultTable {
  batch_id: string;
  /** From 1 on. */
  line: number;
  failed: 0 | 1;
  /** The line of the output or the error file, sealed. */
  bytes: Uint8Array;
}
