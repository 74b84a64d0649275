// client.files: create, list, retrieve, delete, content. A file's bytes go to the database as they arrive and come out
// piece by piece.

import type { Bounds } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { Store } from '../store/store.ts';
import type { ContentStore } from './contents.ts';
import { contentOf, type FileRow, findFile, insertFile, listFiles, removeFile } from './files.ts';
import { readForm } from './form.ts';
import {
  BATCH_BYTES,
  jsonAnswer,
  type KeptCall,
  type KeptHandler,
  noSuchFile,
  refused,
  standardExpirySeconds,
} from './model.ts';
import { fileObject, listObject } from './objects.ts';
import { Query, readFormExpiry, readPurpose } from './parameters.ts';
import { batchUsing } from './store.ts';

const LIST_MOST = 10_000;
/** What a form's own lines may add to its file. */
const FORM_BYTES = 64 * 1024;

export interface KeepingParts {
  readonly store: Store;
  readonly contents: ContentStore;
  readonly clock: Clock;
  readonly bounds: Pick<Bounds, 'uploadBytes'>;
}

export function filesApi(parts: KeepingParts): ReadonlyMap<string, KeptHandler> {
  const { store, contents, clock } = parts;
  const own = async ({ owner, parameters }: KeptCall): Promise<FileRow> => {
    const id = parameters[0] ?? '';
    const file = await findFile(store.db, owner.project.id, id, clock.now());
    if (file === undefined) throw noSuchFile(id);
    return file;
  };
  return new Map<string, KeptHandler>([
    ['files.create', async (call) => jsonAnswer(fileObject(await createFile(parts, call)))],
    ['files.retrieve', async (call) => jsonAnswer(fileObject(await own(call)))],
    [
      'files.list',
      async ({ owner, query: text }) => {
        const query = new Query(text);
        const after = query.text('after');
        const limit = query.limit(LIST_MOST, LIST_MOST);
        const now = clock.now();
        const place = after === null ? null : await findFile(store.db, owner.project.id, after, now);
        if (place === undefined) throw refused('after', "Invalid 'after': no file of this list has this id.");
        const rows = await listFiles(store.db, owner.project.id, now, {
          purpose: query.text('purpose'),
          after: place,
          order: query.order(),
          limit,
        });
        return jsonAnswer(listObject(rows.slice(0, limit).map(fileObject), rows.length > limit));
      },
    ],
    [
      'files.delete',
      async (call) => {
        const file = await own(call);
        const user = await batchUsing(store.db, file.project_id, file.id);
        if (user !== undefined)
          throw new ApiError(
            400,
            `File ${file.id} is the input of ${user}, which is not over yet: cancel it first.`,
            { code: 'file_in_use' },
          );
        await store.db.transaction().execute((tx) => removeFile(tx, contents, file, clock.now()));
        return jsonAnswer({ id: file.id, object: 'file', deleted: true });
      },
    ],
    [
      'files.content',
      async (call) => {
        const file = await own(call);
        const pieces = contents.read(contentOf(file), file.bytes);
        return { kind: 'bytes', filename: file.filename, length: file.bytes, pieces };
      },
    ],
  ]);
}

async function createFile(
  { store, contents, clock, bounds }: KeepingParts,
  call: KeptCall,
): Promise<FileRow> {
  const { owner, contentLength } = call;
  const tooLarge = () =>
    new ApiError(413, `The file is larger than this server takes (${bounds.uploadBytes} bytes).`, {
      code: 'request_too_large',
      param: 'file',
    });
  if (contentLength !== null && contentLength > bounds.uploadBytes + FORM_BYTES) throw tooLarge();
  const id = newId('file-');
  const { organizationId, project } = owner;
  const name = { organizationId, projectId: project.id, id };
  try {
    const { taken, fields } = await readForm(call, 'file', async ({ filename, source }) => ({
      filename,
      bytes: await contents.write(name, clock.now(), source, bounds.uploadBytes, tooLarge),
    }));
    const purpose = readPurpose(fields.get('purpose'));
    checkFields(fields);
    if (purpose === 'batch') checkBatchFile(taken);
    const seconds = readFormExpiry(fields) ?? standardExpirySeconds(purpose);
    const at = clock.now();
    const file: FileRow = {
      id,
      organization_id: organizationId,
      project_id: project.id,
      purpose,
      ...taken,
      created_at: at,
      expires_at: seconds === null ? null : at + seconds * 1000,
    };
    await store.db.transaction().execute((tx) => insertFile(tx, contents, file));
    return file;
  } catch (error) {
    await contents.abandon(id, clock.now()).catch(() => {});
    throw error;
  }
}

const FIELDS: ReadonlySet<string> = new Set(['purpose', 'expires_after[anchor]', 'expires_after[seconds]']);

function checkFields(fields: ReadonlyMap<string, string>): void {
  for (const field of fields.keys()) {
    if (FIELDS.has(field)) continue;
    const param = field.slice(0, 64);
    throw new ApiError(400, `Unrecognized request argument supplied: ${param}`, {
      param,
      code: 'unknown_parameter',
    });
  }
}

function checkBatchFile({ filename, bytes }: { filename: string; bytes: number }): void {
  if (!filename.toLowerCase().endsWith('.jsonl'))
    throw refused('file', 'Invalid file format for Batch API. Must be .jsonl');
  if (bytes > BATCH_BYTES)
    throw refused('file', `The input file of a batch may have at most ${BATCH_BYTES} bytes.`);
}
