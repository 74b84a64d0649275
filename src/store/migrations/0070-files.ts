// Files, uploads and batches.

import { type ColumnDataType, type Kysely, type RawBuilder, sql } from 'kysely';
import type { Store } from '../store.ts';

type DataType = ColumnDataType | RawBuilder<unknown>;

const TYPES: Record<
  Store['kind'],
  { readonly text: DataType; readonly integer: DataType; readonly bytes: DataType }
> = {
  sqlite: { text: 'text', integer: 'integer', bytes: 'blob' },
  postgres: { text: sql`text collate "C"`, integer: 'bigint', bytes: 'bytea' },
};

const TIMES = [
  'in_progress_at',
  'finalizing_at',
  'completed_at',
  'failed_at',
  'expired_at',
  'cancelling_at',
  'cancelled_at',
  'lease_until',
];
const COUNTS = [
  'total',
  'completed',
  'failed',
  'input_tokens',
  'cached_tokens',
  'output_tokens',
  'reasoning_tokens',
  'queue_tokens',
  'created_at',
  'expires_at',
];

export async function up(db: Kysely<unknown>, kind: Store['kind']): Promise<void> {
  const { text, integer, bytes } = TYPES[kind];
  const table = (name: string) => {
    const builder = db.schema.createTable(name);
    return kind === 'sqlite' ? builder.modifyEnd(sql`strict`) : builder;
  };
  /** A table of a project's own objects. */
  const owned = (name: string) =>
    table(name)
      .addColumn('id', text, (c) => c.primaryKey().notNull())
      .addColumn('organization_id', text, (c) => c.notNull().references('organizations.id'))
      .addColumn('project_id', text, (c) => c.notNull().references('projects.id'));
  const index = (name: string, on: string, columns: string[]) =>
    db.schema.createIndex(name).on(on).columns(columns).execute();

  await owned('files')
    .addColumn('purpose', text, (c) => c.notNull())
    .addColumn('filename', text, (c) => c.notNull())
    .addColumn('bytes', integer, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer)
    .execute();
  await index('files_list', 'files', ['project_id', 'created_at', 'id']);
  await db.schema
    .createIndex('files_expiring')
    .on('files')
    .column('expires_at')
    .where(sql.ref('expires_at'), 'is not', null)
    .execute();

  await table('contents')
    .addColumn('content_id', text, (c) => c.notNull())
    .addColumn('piece', integer, (c) => c.notNull())
    .addColumn('bytes', bytes, (c) => c.notNull())
    .addPrimaryKeyConstraint('contents_key', ['content_id', 'piece'])
    .execute();
  await table('content_drops')
    .addColumn('content_id', text, (c) => c.primaryKey().notNull())
    .addColumn('due_at', integer, (c) => c.notNull())
    .execute();
  await index('content_drops_due', 'content_drops', ['due_at']);

  await owned('uploads')
    .addColumn('filename', text, (c) => c.notNull())
    .addColumn('purpose', text, (c) => c.notNull())
    .addColumn('mime_type', text, (c) => c.notNull())
    .addColumn('bytes', integer, (c) => c.notNull())
    .addColumn('status', text, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .addColumn('expires_at', integer, (c) => c.notNull())
    .addColumn('file_seconds', integer)
    .addColumn('file_id', text)
    .execute();
  await index('uploads_expiring', 'uploads', ['expires_at']);
  await table('upload_parts')
    .addColumn('id', text, (c) => c.primaryKey().notNull())
    .addColumn('upload_id', text, (c) => c.notNull().references('uploads.id'))
    .addColumn('bytes', integer, (c) => c.notNull())
    .addColumn('created_at', integer, (c) => c.notNull())
    .execute();
  await index('upload_parts_upload', 'upload_parts', ['upload_id']);

  const batches = owned('batches')
    .addColumn('key_id', text, (c) => c.notNull())
    .addColumn('endpoint', text, (c) => c.notNull())
    .addColumn('input_file_id', text, (c) => c.notNull())
    .addColumn('completion_window', text, (c) => c.notNull())
    .addColumn('model', text)
    .addColumn('status', text, (c) => c.notNull())
    .addColumn('errors', text)
    .addColumn('metadata', text)
    .addColumn('output_seconds', integer)
    .addColumn('output_file_id', text)
    .addColumn('error_file_id', text)
    .addColumn('lease', text);
  const counted = COUNTS.reduce((made, name) => made.addColumn(name, integer, (c) => c.notNull()), batches);
  await TIMES.reduce((made, name) => made.addColumn(name, integer), counted).execute();
  await index('batches_list', 'batches', ['project_id', 'created_at', 'id']);
  await db.schema
    .createIndex('batches_open')
    .on('batches')
    .column('created_at')
    .where(sql.ref('status'), 'in', ['validating', 'in_progress', 'finalizing', 'cancelling'])
    .execute();

  await table('batch_results')
    .addColumn('batch_id', text, (c) => c.notNull())
    .addColumn('line', integer, (c) => c.notNull())
    .addColumn('failed', integer, (c) => c.notNull().check(sql`failed in (0, 1)`))
    .addColumn('bytes', bytes, (c) => c.notNull())
    .addPrimaryKeyConstraint('batch_results_key', ['batch_id', 'line'])
    .execute();
}
