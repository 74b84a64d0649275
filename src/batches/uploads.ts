// client.uploads: a large file in parts, which come in any order and at once, and become one file when they are complete.

import { createHash } from 'node:crypto';
import { z } from 'zod';
import { ApiError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { UploadPartTable, UploadTable } from '../store/schema-files.ts';
import type { Db } from '../store/store.ts';
import type { ContentStore } from './contents.ts';
import { contentOf, type FileRow, findFile, insertFile } from './files.ts';
import type { KeepingParts } from './files-api.ts';
import { readForm } from './form.ts';
import {
  jsonAnswer,
  type KeptCall,
  type KeptHandler,
  noSuchUpload,
  refused,
  standardExpirySeconds,
} from './model.ts';
import { partObject, uploadObject } from './objects.ts';
import { ExpiresAfter, read, readPurpose } from './parameters.ts';

/** As published: an upload is open for an hour, and a part has at most 64 MB. */
const OPEN_MS = 3_600_000;
const PART_BYTES = 64 * 1024 * 1024;
const PARTS_MOST = 10_000;
const EXPIRED_AT_ONCE = 20;

const Name = z.string().min(1).max(512);
const CreateBody = z.strictObject({
  bytes: z.int().min(0),
  filename: Name,
  mime_type: z.string().max(256),
  purpose: z.string(),
  expires_after: ExpiresAfter.optional(),
});
const CompleteBody = z.strictObject({
  part_ids: z.array(z.string().max(128)).min(1).max(PARTS_MOST),
  md5: z.string().max(64).optional(),
});

export function uploadsApi(parts: KeepingParts): ReadonlyMap<string, KeptHandler> {
  const { store, contents, clock } = parts;
  const own = async ({ owner, parameters }: KeptCall): Promise<UploadTable> => {
    const id = parameters[0] ?? '';
    const upload = await store.db
      .selectFrom('uploads')
      .selectAll()
      .where('project_id', '=', owner.project.id)
      .where('id', '=', id)
      .executeTakeFirst();
    if (upload === undefined) throw noSuchUpload(id);
    return upload;
  };
  const pending = async (call: KeptCall): Promise<UploadTable> => {
    const upload = await own(call);
    const { status } = uploadObject(upload, clock.now());
    if (status === 'pending') return upload;
    throw new ApiError(400, `Upload ${upload.id} is ${status}: nothing can be done with it any more.`, {
      code: 'upload_not_pending',
    });
  };
  return new Map<string, KeptHandler>([
    ['uploads.create', async (call) => jsonAnswer(uploadObject(await create(parts, call), clock.now()))],
    [
      'uploads.parts.create',
      async (call) => jsonAnswer(partObject(await addPart(parts, call, await pending(call)))),
    ],
    [
      'uploads.complete',
      async (call) => {
        const upload = await pending(call);
        const file = await complete(parts, call, upload);
        return jsonAnswer(uploadObject({ ...upload, status: 'completed' }, clock.now(), file));
      },
    ],
    [
      'uploads.cancel',
      async (call) => {
        const upload = await own(call);
        if (upload.status === 'completed') await pending(call);
        await endUpload(store.db, contents, upload, 'cancelled', clock.now());
        return jsonAnswer(uploadObject({ ...upload, status: 'cancelled' }, clock.now()));
      },
    ],
  ]);
}

async function create(
  { store, clock, bounds }: KeepingParts,
  { owner, json }: KeptCall,
): Promise<UploadTable> {
  const body = read(CreateBody, json);
  const purpose = readPurpose(body.purpose);
  if (body.bytes > bounds.uploadBytes)
    throw refused('bytes', `Invalid 'bytes': a file may have at most ${bounds.uploadBytes}.`);
  const at = clock.now();
  const upload: UploadTable = {
    id: newId('upload_'),
    organization_id: owner.organizationId,
    project_id: owner.project.id,
    filename: body.filename,
    purpose,
    mime_type: body.mime_type,
    bytes: body.bytes,
    status: 'pending',
    created_at: at,
    expires_at: at + OPEN_MS,
    file_seconds: body.expires_after?.seconds ?? null,
    file_id: null,
  };
  await store.db.insertInto('uploads').values(upload).execute();
  return upload;
}

async function addPart(
  { store, contents, clock }: KeepingParts,
  call: KeptCall,
  upload: UploadTable,
): Promise<UploadPartTable> {
  const { count } = await store.db
    .selectFrom('upload_parts')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .where('upload_id', '=', upload.id)
    .executeTakeFirstOrThrow();
  if (count >= PARTS_MOST) throw new ApiError(400, `An upload may have at most ${PARTS_MOST} parts.`);
  const id = newId('part_');
  const tooLarge = () =>
    new ApiError(413, `A part may have at most ${PART_BYTES} bytes.`, {
      code: 'request_too_large',
      param: 'data',
    });
  try {
    const { taken: bytes } = await readForm(
      call,
      'data',
      async ({ source }) =>
        await contents.write({ ...contentOf(upload), id }, clock.now(), source, PART_BYTES, tooLarge),
    );
    const part: UploadPartTable = { id, upload_id: upload.id, bytes, created_at: clock.now() };
    await store.db.transaction().execute(async (tx) => {
      await contents.keep(tx, id);
      await tx.insertInto('upload_parts').values(part).execute();
    });
    return part;
  } catch (error) {
    await contents.abandon(id, clock.now()).catch(() => {});
    throw error;
  }
}

async function complete(
  { store, contents, clock }: KeepingParts,
  { json }: KeptCall,
  upload: UploadTable,
): Promise<FileRow> {
  const { part_ids: ids, md5 } = read(CompleteBody, json);
  const rows = await store.db
    .selectFrom('upload_parts')
    .selectAll()
    .where('upload_id', '=', upload.id)
    .execute();
  const known = new Map(rows.map((part) => [part.id, part]));
  const parts = ids.map((id) => {
    const part = known.get(id);
    if (part === undefined)
      throw refused('part_ids', `Invalid 'part_ids': '${id.slice(0, 64)}' is no part of this upload.`);
    return part;
  });
  if (new Set(ids).size !== ids.length) throw refused('part_ids', "Invalid 'part_ids': a part stands twice.");
  const sum = parts.reduce((total, { bytes }) => total + bytes, 0);
  if (sum !== upload.bytes)
    throw new ApiError(
      400,
      `The parts have ${sum} bytes together, and the upload was made for ${upload.bytes}.`,
      {
        code: 'upload_size_mismatch',
      },
    );
  const id = newId('file-');
  const digest = createHash('md5');
  async function* joined(): AsyncGenerator<Buffer> {
    for (const { id, bytes } of parts)
      for await (const piece of contents.read({ ...contentOf(upload), id }, bytes)) {
        digest.update(piece);
        yield piece;
      }
  }
  try {
    const bytes = await contents.write({ ...contentOf(upload), id }, clock.now(), joined());
    if (md5 !== undefined && digest.digest('hex') !== md5.toLowerCase())
      throw refused('md5', "Invalid 'md5': the parts together have another checksum.");
    const at = clock.now();
    const seconds = upload.file_seconds ?? standardExpirySeconds(upload.purpose);
    const file: FileRow = {
      id,
      organization_id: upload.organization_id,
      project_id: upload.project_id,
      purpose: upload.purpose,
      filename: upload.filename,
      bytes,
      created_at: at,
      expires_at: seconds === null ? null : at + seconds * 1000,
    };
    await store.db.transaction().execute(async (tx) => {
      const { numUpdatedRows } = await tx
        .updateTable('uploads')
        .set({ status: 'completed', file_id: id })
        .where('id', '=', upload.id)
        .where('status', '=', 'pending')
        .executeTakeFirst();
      if (numUpdatedRows !== 1n) throw new ApiError(400, `Upload ${upload.id} is not pending any more.`);
      await insertFile(tx, contents, file);
      await releaseParts(tx, contents, upload.id, at);
    });
    return file;
  } catch (error) {
    await contents.abandon(id, clock.now()).catch(() => {});
    throw error;
  }
}

async function releaseParts(
  tx: Parameters<ContentStore['release']>[0],
  contents: ContentStore,
  uploadId: string,
  nowMs: number,
): Promise<void> {
  const parts = await tx
    .deleteFrom('upload_parts')
    .where('upload_id', '=', uploadId)
    .returning('id')
    .execute();
  await contents.release(
    tx,
    parts.map(({ id }) => id),
    nowMs,
  );
}

async function endUpload(
  db: Db,
  contents: ContentStore,
  { id }: UploadTable,
  status: 'cancelled' | 'gone',
  nowMs: number,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await releaseParts(tx, contents, id, nowMs);
    if (status === 'gone') await tx.deleteFrom('uploads').where('id', '=', id).execute();
    else
      await tx
        .updateTable('uploads')
        .set({ status })
        .where('id', '=', id)
        .where('status', '=', 'pending')
        .execute();
  });
}

/** Lets go of uploads whose hour is over. True: there may be more. */
export async function expireUploads(db: Db, contents: ContentStore, nowMs: number): Promise<boolean> {
  const expired = await db
    .selectFrom('uploads')
    .selectAll()
    .where('expires_at', '<=', nowMs)
    .orderBy('expires_at')
    .limit(EXPIRED_AT_ONCE)
    .execute();
  for (const upload of expired) await endUpload(db, contents, upload, 'gone', nowMs);
  return expired.length === EXPIRED_AT_ONCE;
}

/** The file that a completed upload became, if it is still there. */
export async function fileOf(db: Db, upload: UploadTable, nowMs: number): Promise<FileRow | undefined> {
  return upload.file_id === null ? undefined : await findFile(db, upload.project_id, upload.file_id, nowMs);
}
