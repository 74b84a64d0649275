// What files hold, in the database: pieces of at most a megabyte, each sealed, read and written one at a time, so that a
// file is never in memory as a whole, every node that shares the database reads it, and a row of a file and its content
// live and die together.
//
// Nothing is left behind: before the first piece is written, the content is noted as to be dropped later; the transaction
// that makes the file takes the note away. Whatever is deleted is noted in its transaction, and dropped piece by piece.

import { sql } from 'kysely';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import type { Place } from '../secrets/purpose.ts';
import type { Seals } from '../secrets/seals.ts';
import { INSIDE, type Outside, ROW_HEAD } from '../storage/outside.ts';
import type { Db, Tx } from '../store/store.ts';

export const PIECE_BYTES = 1 << 20;
/** Longer than any upload may take; what is still noted then was left by a crash. */
const WRITING_MS = 25 * 3_600_000;
/** Pieces that one statement deletes. */
const DROPPED_AT_ONCE = 8;

/** Whose a content is, and its own id: bound to the sealed bytes, which open nowhere else. */
export interface ContentName {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly id: string;
}

export class ContentStore {
  readonly #db: Db;
  readonly #seals: Seals;
  readonly #outside: Outside;

  constructor(db: Db, seals: Seals, outside: Outside = INSIDE) {
    this.#db = db;
    this.#seals = seals;
    this.#outside = outside;
  }

  /**
   * Writes a content; the caller `keep`s it in the transaction that makes its owner. Resolves with its bytes.
   * @param most throws `tooLarge()` beyond so many bytes
   */
  async write(
    name: ContentName,
    nowMs: number,
    source: AsyncIterable<Uint8Array>,
    most = Number.POSITIVE_INFINITY,
    tooLarge: () => Error = () => new RangeError('content is too large'),
  ): Promise<number> {
    await this.#db
      .insertInto('content_drops')
      .values({ content_id: name.id, due_at: nowMs + WRITING_MS })
      .execute();
    let bytes = 0;
    let piece = 0;
    for await (const block of blocks(source)) {
      bytes += block.length;
      if (bytes > most) throw tooLarge();
      const sealed = await this.#seals.seal(placeOf(name, piece), block);
      const kept = await this.#outside.put(name, piece, sealed);
      await this.#db.insertInto('contents').values({ content_id: name.id, piece, bytes: kept }).execute();
      piece++;
    }
    return bytes;
  }

  /** Within the transaction that makes the content's owner: it stays. */
  async keep(tx: Tx, id: string): Promise<void> {
    const { numDeletedRows } = await tx
      .deleteFrom('content_drops')
      .where('content_id', '=', id)
      .executeTakeFirst();
    if (numDeletedRows !== 1n) throw new Error('a content was dropped before it was kept');
  }

  /** Within the transaction that lets go of these contents. */
  async release(tx: Tx, ids: readonly string[], nowMs: number): Promise<void> {
    if (ids.length === 0) return;
    await tx
      .insertInto('content_drops')
      .values(ids.map((id) => ({ content_id: id, due_at: nowMs })))
      .onConflict((conflict) => conflict.column('content_id').doUpdateSet({ due_at: nowMs }))
      .execute();
  }

  /** What was written failed: it may go at once. */
  async abandon(id: string, nowMs: number): Promise<void> {
    await this.#db.updateTable('content_drops').set({ due_at: nowMs }).where('content_id', '=', id).execute();
  }

  /** The pieces of a content of this length, in order. Throws when there are fewer. */
  async *read(name: ContentName, length: number): AsyncGenerator<Buffer> {
    for (let piece = 0, left = length; left > 0; piece++) {
      const row = await this.#db
        .selectFrom('contents')
        .select('bytes')
        .where('content_id', '=', name.id)
        .where('piece', '=', piece)
        .executeTakeFirst();
      if (row === undefined) throw new Error('a content ends before its length');
      const opened = await this.#seals.open(placeOf(name, piece), await this.#outside.get(row.bytes));
      left -= opened.length;
      yield opened;
    }
  }

  /** Drops a piece of what is noted; false: there is nothing left to drop. */
  async dropSome(nowMs: number): Promise<boolean> {
    const due = await this.#db
      .selectFrom('content_drops')
      .select('content_id')
      .where('due_at', '<=', nowMs)
      .orderBy('due_at')
      .limit(1)
      .executeTakeFirst();
    if (due === undefined) return false;
    const pieces = await this.#db
      .selectFrom('contents')
      .select(['piece', sql<Uint8Array>`substr(bytes, 1, ${sql.lit(ROW_HEAD)})`.as('head')])
      .where('content_id', '=', due.content_id)
      .limit(DROPPED_AT_ONCE)
      .execute();
    if (pieces.length > 0) {
      for (const { head } of pieces) await this.#outside.remove(head);
      await this.#db
        .deleteFrom('contents')
        .where('content_id', '=', due.content_id)
        .where(
          'piece',
          'in',
          pieces.map(({ piece }) => piece),
        )
        .execute();
    }
    if (pieces.length < DROPPED_AT_ONCE)
      await this.#db.deleteFrom('content_drops').where('content_id', '=', due.content_id).execute();
    return true;
  }
}

function placeOf({ organizationId, projectId, id }: ContentName, piece: number): Place {
  return { organizationId, projectId, purpose: 'file', id: `${id}/${piece}` };
}

/** The same bytes in blocks of PIECE_BYTES, the last one shorter. */
async function* blocks(source: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  let waiting: Uint8Array[] = [];
  let bytes = 0;
  for await (let chunk of source) {
    while (bytes + chunk.length >= PIECE_BYTES) {
      const cut = PIECE_BYTES - bytes;
      waiting.push(chunk.subarray(0, cut));
      yield Buffer.concat(waiting, PIECE_BYTES);
      chunk = chunk.subarray(cut);
      waiting = [];
      bytes = 0;
    }
    if (chunk.length > 0) waiting.push(chunk);
    bytes += chunk.length;
  }
  if (bytes > 0) yield Buffer.concat(waiting, bytes);
}
