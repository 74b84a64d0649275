// One batch, worked on by one node: validating → in_progress → finalizing → completed, or failed, expired, cancelled.
//
// The node holds the batch by a lease that it renews; every change is made as its holder, so that two nodes never work on
// one batch, and a batch whose node died goes on elsewhere from what is durable when the lease is over. What is durable of
// a line is its result (results.ts); lines that were under way are sent again.
//
// It stops early when it is cancelled, when its window is over, and when the key that made it is revoked or expired, its
// project archived or told to keep nothing: then it is cancelled, and says why.

import type { Bounds } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import { newId } from '../platform/ids.ts';
import type { Seals } from '../secrets/seals.ts';
import type { FileTable } from '../store/schema-files.ts';
import type { Store } from '../store/store.ts';
import { checkInput } from './check.ts';
import type { ContentName, ContentStore } from './contents.ts';
import { contentOf, findFile, insertFile } from './files.ts';
import { type InputLine, linesOf, requestIn } from './lines.ts';
import {
  BATCH_ENDPOINTS,
  BATCH_OUTPUT,
  type BatchEndpoint,
  type BatchError,
  type Owner,
  type Perform,
  standardExpirySeconds,
} from './model.ts';
import type { BatchQueue } from './queue.ts';
import { dropResults, ResultWriter, resultLines } from './results.ts';
import { expiredLine, sendLine } from './send.ts';
import { type BatchRow, changeHeld, doneLines, LeaseLost } from './store.ts';

export const LEASE_MS = 20_000;
export const RENEW_MS = 5_000;
/** After a fault, the batch waits so long before it is tried again. */
const AGAIN_MS = 10_000;
/** Results that wait to be written; beyond, no further line is started. */
const WAITING_MOST = 256;

export interface RunParts {
  readonly store: Store;
  readonly contents: ContentStore;
  readonly seals: Seals;
  readonly queue: BatchQueue;
  readonly clock: Clock;
  readonly bounds: Pick<Bounds, 'bodyBytes'>;
  readonly node: string;
  /** Lines under way at once. */
  readonly concurrency: number;
  readonly perform: Perform;
  /** Finds the batch's key. The function says who it stands for at that moment; null: it may not be used any more. */
  readonly holder: (row: BatchRow) => Promise<() => Owner | null>;
  /** Whether a provider, or the sandbox, is there for a model that this key names. */
  readonly serves: (owner: Owner, model: string) => boolean;
  readonly onError: (error: unknown) => void;
}

/** Why no further line is started. */
type Stop = 'cancelled' | 'window' | 'key' | 'retention' | 'server' | 'lost';

const REASONS: Partial<Record<Stop, BatchError>> = {
  key: {
    code: 'api_key_not_usable',
    message: 'The API key that made this batch was revoked or has expired, or its project was archived.',
    param: null,
    line: null,
  },
  retention: {
    code: 'zero_data_retention',
    message: 'The project was set to keep no content, so nothing of this batch is kept.',
    param: null,
    line: null,
  },
};

export class BatchRun {
  readonly #parts: RunParts;
  #row: BatchRow;
  readonly #held: { readonly id: string; readonly lease: string };
  readonly #name: ContentName;
  #holder: (() => Owner | null) | null = null;
  #stop: Stop | null = null;
  readonly #stopping = new AbortController();

  constructor(parts: RunParts, row: BatchRow) {
    if (row.lease === null) throw new Error('a batch is run by who holds it');
    this.#parts = parts;
    this.#row = row;
    this.#held = { id: row.id, lease: row.lease };
    this.#name = contentOf(row);
  }

  /** The server stops: lines under way are finished, no further one is started, and another node may go on. */
  stop(): void {
    this.#end('server');
  }

  /** Keeps the lease, and learns whether the batch was cancelled meanwhile, or its key may not be used any more. */
  async renew(): Promise<void> {
    try {
      const row = await changeHeld(this.#parts.store.db, this.#held, {
        lease_until: this.#parts.clock.now() + LEASE_MS,
      });
      if (row.status === 'cancelling') this.#end('cancelled');
      this.#holder ??= await this.#parts.holder(row);
      this.#sender();
    } catch (error) {
      if (error instanceof LeaseLost) this.#end('lost');
      else this.#parts.onError(error);
    }
  }

  /** Works until the batch is over, or this node must let go of it. */
  async work(): Promise<void> {
    const renewing = setInterval(() => void this.renew(), RENEW_MS);
    try {
      await this.renew();
      if (this.#row.status === 'validating') await this.#validate();
      if (this.#row.status === 'in_progress') await this.#execute();
      if (this.#row.status === 'finalizing' || this.#row.status === 'cancelling') await this.#finish();
      await this.#letGo(0);
    } catch (error) {
      if (error instanceof LeaseLost) return;
      await this.#letGo(AGAIN_MS);
      throw error;
    } finally {
      clearInterval(renewing);
    }
  }

  /** Who sends the next line; null: nobody, and the batch stops. Asked for each line, so that a revocation holds at once. */
  #sender(): Owner | null {
    if (this.#stop !== null || this.#holder === null) return null;
    const owner = this.#holder();
    if (owner === null) this.#end('key');
    else if (owner.project.controls?.retention?.zero === true) this.#end('retention');
    return this.#stop === null ? owner : null;
  }

  #end(stop: Stop): void {
    // What comes first decides, but a lost lease is lost whatever else is.
    if (this.#stop === null || stop === 'lost') this.#stop = stop;
    this.#stopping.abort();
  }

  /** Moves the batch on; if it was cancelled meanwhile it is the cancelled row that comes back. */
  async #advance(from: BatchRow['status'], change: Parameters<typeof changeHeld>[2]): Promise<void> {
    const { db } = this.#parts.store;
    const moved = await db
      .updateTable('batches')
      .set(change)
      .where('id', '=', this.#held.id)
      .where('lease', '=', this.#held.lease)
      .where('status', '=', from)
      .returningAll()
      .executeTakeFirst();
    this.#row = moved ?? (await changeHeld(db, this.#held, { lease: this.#held.lease }));
  }

  async #validate(): Promise<void> {
    const { store, queue, serves } = this.#parts;
    const owner = this.#sender();
    if (this.#stop === 'server' || this.#stop === 'lost') return;
    if (this.#stop !== null || owner === null) return await this.#cancel();
    const endpoint = this.#endpoint();
    const file = await this.#inputFile();
    if (file === undefined) {
      const message = `The input file ${this.#row.input_file_id} is not there any more.`;
      return await this.#fail([{ code: 'invalid_input_file', message, param: 'input_file_id', line: null }]);
    }
    const { errors, total, model, tokens } = await checkInput(this.#lines(file), endpoint, (name) =>
      serves(owner, name),
    );
    if (errors.length > 0) return await this.#fail(errors);
    // Written before it is held: whoever sums up what is held meanwhile finds it.
    this.#row = await changeHeld(store.db, this.#held, { model, queue_tokens: tokens });
    const refusal = await queue.enter(this.#row, model, tokens);
    if (refusal !== null) {
      if (refusal.status >= 500) throw refusal;
      return await this.#fail([
        { code: refusal.code ?? 'token_limit_exceeded', message: refusal.message, param: null, line: null },
      ]);
    }
    const at = this.#parts.clock.now();
    await this.#advance('validating', { status: 'in_progress', total, in_progress_at: at });
  }

  async #fail(errors: readonly BatchError[]): Promise<void> {
    const at = this.#parts.clock.now();
    await this.#advance('validating', {
      status: 'failed',
      errors: JSON.stringify(errors),
      failed_at: at,
      queue_tokens: 0,
    });
  }

  /** Cancelled by what became of its key or project, where nobody asked for it. */
  async #cancel(): Promise<void> {
    const reason = this.#stop === null ? undefined : REASONS[this.#stop];
    const { status } = this.#row;
    if (status === 'cancelling') return;
    await this.#advance(status, {
      status: 'cancelling',
      cancelling_at: this.#parts.clock.now(),
      ...(reason && { errors: JSON.stringify([reason]) }),
    });
  }

  async #execute(): Promise<void> {
    const { store, clock, seals, node, onError } = this.#parts;
    const done = await doneLines(store.db, this.#held.id);
    const results = new ResultWriter({
      db: store.db,
      seals,
      name: this.#name,
      lease: this.#held.lease,
      node,
      onLost: () => this.#end('lost'),
      onError,
    });
    const file = await this.#inputFile();
    if (file === undefined) throw new Error(`the input of ${this.#held.id} is gone while it runs`);
    const late = await this.#sendAll(file, done, results);
    await results.flush();
    switch (this.#stop) {
      case 'server':
      case 'lost':
        return;
      case 'cancelled':
      case 'key':
      case 'retention':
        return await this.#cancel();
      default: {
        const at = clock.now();
        await this.#advance('in_progress', {
          status: 'finalizing',
          finalizing_at: at,
          ...(late && { expired_at: at }),
        });
      }
    }
  }

  /** True: the window ended before all lines were done. */
  async #sendAll(file: FileTable, done: ReadonlySet<number>, results: ResultWriter): Promise<boolean> {
    const { concurrency, perform, onError } = this.#parts;
    const signal = this.#stopping.signal;
    const underway = new Set<Promise<void>>();
    let late = false;
    const parts = {
      perform,
      sender: () => this.#sender(),
      pause: (ms: number) => pause(ms, signal),
      late: () => this.#isLate(),
    };
    for await (const line of this.#lines(file)) {
      if (this.#stop !== null) break;
      if (done.has(line.number)) continue;
      const request = requestIn(line, this.#row.endpoint);
      if ('code' in request) throw new Error('a batch that was validated has a line that cannot be read');
      const order = { batchId: this.#held.id, line: line.number, endpoint: this.#row.endpoint, request };
      if (late || this.#isLate()) {
        late = true;
        results.add(expiredLine(order));
        if (results.waiting >= WAITING_MOST) await results.flush();
        continue;
      }
      while (underway.size >= concurrency) await Promise.race(underway);
      if (results.waiting >= WAITING_MOST) await results.flush();
      const sending = sendLine(parts, order)
        .then((result) => {
          if (result !== null) results.add(result);
        })
        .catch((error: unknown) => {
          onError(error);
          this.#end('server');
        })
        .finally(() => underway.delete(sending));
      underway.add(sending);
    }
    await Promise.all(underway);
    return late || (this.#stop === null && this.#isLate());
  }

  #isLate(): boolean {
    return this.#row.expires_at <= this.#parts.clock.now();
  }

  /** Writes the files of what was done, and ends the batch. */
  async #finish(): Promise<void> {
    const { store, contents, clock, seals } = this.#parts;
    const keeps = this.#stop !== 'retention' && this.#holder?.()?.project.controls?.retention?.zero !== true;
    const files: FileTable[] = [];
    for (const failed of keeps ? [false, true] : []) {
      if ((failed ? this.#row.failed : this.#row.completed) === 0) continue;
      const id = newId('file-');
      const lines = resultLines(store.db, seals, this.#name, failed);
      const bytes = await contents.write({ ...this.#name, id }, clock.now(), lines);
      files.push(this.#outputFile(id, failed, bytes));
    }
    const at = clock.now();
    const output = files.find(({ filename }) => filename.endsWith('_output.jsonl'));
    const error = files.find(({ filename }) => filename.endsWith('_error.jsonl'));
    const ended =
      this.#row.status === 'cancelling'
        ? { status: 'cancelled' as const, cancelled_at: at }
        : this.#row.expired_at !== null
          ? { status: 'expired' as const }
          : { status: 'completed' as const, completed_at: at };
    this.#row = await store.db.transaction().execute(async (tx) => {
      for (const file of files) await insertFile(tx, contents, file);
      return await changeHeld(tx, this.#held, {
        ...ended,
        output_file_id: output?.id ?? null,
        error_file_id: error?.id ?? null,
      });
    });
  }

  #outputFile(id: string, failed: boolean, bytes: number): FileTable {
    const { organization_id, project_id, output_seconds } = this.#row;
    const at = this.#parts.clock.now();
    const seconds = output_seconds ?? standardExpirySeconds(BATCH_OUTPUT) ?? 0;
    return {
      id,
      organization_id,
      project_id,
      purpose: BATCH_OUTPUT,
      filename: `${this.#held.id}_${failed ? 'error' : 'output'}.jsonl`,
      bytes,
      created_at: at,
      expires_at: at + seconds * 1000,
    };
  }

  /** Gives the lease back; a batch that is over gives back its place in the queue too. */
  async #letGo(againMs: number): Promise<void> {
    const { store, queue, clock, onError } = this.#parts;
    try {
      const row = await changeHeld(store.db, this.#held, {
        lease: null,
        lease_until: againMs === 0 ? null : clock.now() + againMs,
      });
      if (row.status === 'validating' || row.status === 'in_progress' || row.status === 'finalizing') return;
      if (row.status === 'cancelling') return;
      await queue.leave(row);
      await dropResults(store.db, row.id);
    } catch (error) {
      if (!(error instanceof LeaseLost) && !(error instanceof ApiError && error.status === 503))
        onError(error);
    }
  }

  async #inputFile(): Promise<FileTable | undefined> {
    const { store } = this.#parts;
    // Its own time may end while the batch runs: it is read as long as its row is there.
    return await findFile(store.db, this.#row.project_id, this.#row.input_file_id, 0);
  }

  #lines(file: FileTable): AsyncGenerator<InputLine> {
    const { contents, bounds } = this.#parts;
    return linesOf(contents.read(contentOf(file), file.bytes), bounds.bodyBytes);
  }

  #endpoint(): BatchEndpoint {
    const found = BATCH_ENDPOINTS.find((endpoint) => endpoint === this.#row.endpoint);
    if (found === undefined) throw new Error(`batch ${this.#held.id} is for an endpoint of another version`);
    return found;
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done);
  });
}
