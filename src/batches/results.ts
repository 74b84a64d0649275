// What became of a batch's lines: written in groups, each in one transaction with the usage events of its calls and the
// batch's counts. So a line's result and its charge are both there or both not: after kill -9 a line without a result is
// sent again, and one with a result never is; the ledger holds each line's charge exactly once.
//
// The transaction changes the batch as its holder. A node that lost the batch to another writes nothing any more.

import { sql } from 'kysely';
import type { Seals } from '../secrets/seals.ts';
import { writeSegment } from '../spend/segment/write.ts';
import { noUsage, type UsageEvent } from '../spend/usage.ts';
import type { Db } from '../store/store.ts';
import type { ContentName } from './contents.ts';
import { changeHeld, LeaseLost } from './store.ts';

const GROUP = 64;
const GROUP_BYTES = 8 << 20;
/** Results wait so long for others to be written with, in milliseconds. */
const LINGER_MS = 25;
const RETRY_MS = 500;

export interface LineResult {
  readonly line: number;
  /** It belongs in the error file. */
  readonly failed: boolean;
  /** The line of the output or error file, without its end. */
  readonly text: string;
  /** Its calls, as they are to be recorded. */
  readonly events: readonly UsageEvent[];
}

export interface ResultsOptions {
  readonly db: Db;
  readonly seals: Seals;
  /** The batch, and the lease that it is held under. */
  readonly name: ContentName;
  readonly lease: string;
  /** A short name of this node, for the usage segments. */
  readonly node: string;
  /** Another holds the batch: nothing more can be written. */
  readonly onLost: () => void;
  readonly onError: (error: unknown) => void;
}

export class ResultWriter {
  readonly #options: ResultsOptions;
  #waiting: LineResult[] = [];
  #writing: Promise<void> | null = null;
  #lost: LeaseLost | null = null;

  constructor(options: ResultsOptions) {
    this.#options = options;
  }

  /** Results that are not durable yet. */
  get waiting(): number {
    return this.#waiting.length;
  }

  add(result: LineResult): void {
    this.#waiting.push(result);
    this.#writing ??= this.#run();
  }

  /** Resolves when everything that was added is durable. Throws LeaseLost when it can not be any more. */
  async flush(): Promise<void> {
    while (this.#writing !== null) await this.#writing;
    if (this.#lost !== null) throw this.#lost;
  }

  async #run(): Promise<void> {
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    while (this.#waiting.length > 0 && this.#lost === null) {
      const group = firstOf(this.#waiting);
      try {
        await this.#write(group);
        this.#waiting.splice(0, group.length);
      } catch (error) {
        if (error instanceof LeaseLost) {
          this.#lost = error;
          this.#options.onLost();
        } else {
          this.#options.onError(error);
          await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
        }
      }
    }
    this.#writing = null;
  }

  async #write(group: readonly LineResult[]): Promise<void> {
    const { db, seals, name, lease, node } = this.#options;
    const rows = await Promise.all(
      group.map(async ({ line, failed, text }) => ({
        batch_id: name.id,
        line,
        failed: failed ? (1 as const) : (0 as const),
        bytes: await seals.seal(resultPlace(name, line), text),
      })),
    );
    const events = group.flatMap((result) => result.events);
    const failed = group.filter((result) => result.failed).length;
    const used = group.filter((result) => !result.failed).flatMap((result) => result.events);
    const sum = used.reduce((total, { usage }) => {
      total.input += usage.input;
      total.cachedInput += usage.cachedInput;
      total.output += usage.output;
      total.reasoning += usage.reasoning;
      return total;
    }, noUsage());
    await db.transaction().execute(async (tx) => {
      await changeHeld(
        tx,
        { id: name.id, lease },
        {
          completed: sql`completed + ${sql.lit(group.length - failed)}`,
          failed: sql`failed + ${sql.lit(failed)}`,
          input_tokens: sql`input_tokens + ${sql.lit(sum.input)}`,
          cached_tokens: sql`cached_tokens + ${sql.lit(sum.cachedInput)}`,
          output_tokens: sql`output_tokens + ${sql.lit(sum.output)}`,
          reasoning_tokens: sql`reasoning_tokens + ${sql.lit(sum.reasoning)}`,
        },
      );
      await tx.insertInto('batch_results').values(rows).execute();
      if (events.length > 0)
        await tx.insertInto('usage_segments').values(writeSegment(node, events)).execute();
    });
  }
}

function firstOf(waiting: readonly LineResult[]): readonly LineResult[] {
  let bytes = 0;
  const end = waiting.findIndex(({ text }, at) => {
    bytes += text.length;
    return at > 0 && (at >= GROUP || bytes > GROUP_BYTES);
  });
  return waiting.slice(0, end < 0 ? waiting.length : end);
}

function resultPlace({ organizationId, projectId, id }: ContentName, line: number) {
  return { organizationId, projectId, purpose: 'content' as const, id: `${id}/${line}` };
}

/** The lines of the output file, or of the error file, in the order of the input, each with its end. */
export async function* resultLines(
  db: Db,
  seals: Seals,
  name: ContentName,
  failed: boolean,
): AsyncGenerator<Buffer> {
  for (let after = 0; ; ) {
    const found = await db
      .selectFrom('batch_results')
      .select(['line', sql<number>`length(bytes)`.as('length')])
      .where('batch_id', '=', name.id)
      .where('failed', '=', failed ? 1 : 0)
      .where('line', '>', after)
      .orderBy('line')
      .limit(GROUP)
      .execute();
    if (found.length === 0) return;
    let bytes = 0;
    const lines = found
      .filter(({ length }, at) => {
        bytes += length;
        return at === 0 || bytes <= GROUP_BYTES;
      })
      .map(({ line }) => line);
    const rows = await db
      .selectFrom('batch_results')
      .select(['line', 'bytes'])
      .where('batch_id', '=', name.id)
      .where('line', 'in', lines)
      .orderBy('line')
      .execute();
    for (const { line, bytes: sealed } of rows) {
      yield await seals.open(resultPlace(name, line), sealed);
      yield LINE_END;
      after = line;
    }
  }
}

const LINE_END = Buffer.from('\n');

const DROPPED_AT_ONCE = 500;

/** Drops results of a batch whose files are written. */
export async function dropResults(db: Db, batchId: string): Promise<void> {
  for (;;) {
    const rows = await db
      .selectFrom('batch_results')
      .select('line')
      .where('batch_id', '=', batchId)
      .orderBy('line')
      .limit(DROPPED_AT_ONCE)
      .execute();
    const last = rows.at(-1);
    if (last === undefined) return;
    await db
      .deleteFrom('batch_results')
      .where('batch_id', '=', batchId)
      .where('line', '<=', last.line)
      .execute();
  }
}
