// The worker by itself, with injected time, on both databases: the end of the window, a lease that is lost, content that is
// sealed and sealed anew.

import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { ContentStore } from '../../src/batches/contents.ts';
import { contentOf, findFile, insertFile } from '../../src/batches/files.ts';
import type { Order, Owner, Performed } from '../../src/batches/model.ts';
import { BatchQueue } from '../../src/batches/queue.ts';
import { BatchRun, LEASE_MS, type RunParts } from '../../src/batches/run.ts';
import { sealedColumns } from '../../src/batches/sealed.ts';
import { type BatchRow, claim, findBatch } from '../../src/batches/store.ts';
import { mintKey } from '../../src/keys/format.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { MemoryLimiter } from '../../src/limits/memory.ts';
import { RateLimits } from '../../src/limits/rate-limits.ts';
import { parseTables } from '../../src/limits/tables.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { newId } from '../../src/platform/ids.ts';
import { rewrapAll } from '../../src/secrets/rewrap.ts';
import { rootKey } from '../../src/secrets/root.ts';
import { Seals } from '../../src/secrets/seals.ts';
import { noUsage } from '../../src/spend/usage.ts';
import type { Store } from '../../src/store/store.ts';
import { type StorePlace, stores } from '../store/stores.ts';
import { chatLine } from './running.ts';

const START = Date.UTC(2026, 4, 1);

describe.each(stores)('a batch on $kind', ({ fresh }) => {
  let place: StorePlace;
  let store: Store;
  let clock: ManualClock;
  let contents: ContentStore;
  let owner: Owner;
  let sealing: ReturnType<typeof rootKey>;
  const older = rootKey(randomBytes(32));
  const seals = new Seals({
    roots: { sealing: async () => sealing, opening: async (id) => (id.equals(older.id) ? older : sealing) },
    alarm: () => {},
  });

  beforeEach(async () => {
    place = await fresh();
    store = await place.open();
    clock = new ManualClock(START);
    sealing = older;
    contents = new ContentStore(store.db, seals);
    const made = await bootstrap({ store, clock, adminKey: null, warn: () => {} });
    const registry = new KeyRegistry({ clock });
    await registry.load(store);
    const principal = registry.find(made?.projectKey ?? mintKey('project'));
    if (principal?.project == null) throw new Error('no project');
    owner = { ...principal, project: principal.project };
  });
  afterEach(() => place.remove());

  async function file(text: string) {
    const id = newId('file-');
    const row = {
      id,
      organization_id: owner.organizationId,
      project_id: owner.project.id,
      purpose: 'batch',
      filename: 'in.jsonl',
      created_at: clock.now(),
      expires_at: null,
    };
    const bytes = await contents.write(contentOf(row), clock.now(), Readable.from([Buffer.from(text)]));
    await store.db.transaction().execute((tx) => insertFile(tx, contents, { ...row, bytes }));
    return { ...row, bytes };
  }

  async function textOf(id: string | null): Promise<string> {
    const row = await findFile(store.db, owner.project.id, id ?? '', clock.now());
    if (row === undefined) return '';
    const pieces: Buffer[] = [];
    for await (const piece of contents.read(contentOf(row), row.bytes)) pieces.push(piece);
    return Buffer.concat(pieces).toString();
  }

  async function batch(lines: number): Promise<BatchRow> {
    const text = Array.from({ length: lines }, (_, n) => JSON.stringify(chatLine(n))).join('\n');
    const input = await file(text);
    const nulls = {
      model: null,
      errors: null,
      metadata: null,
      output_seconds: null,
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
    const zeros = {
      total: 0,
      completed: 0,
      failed: 0,
      input_tokens: 0,
      cached_tokens: 0,
      output_tokens: 0,
      reasoning_tokens: 0,
      queue_tokens: 0,
    };
    const row: BatchRow = {
      ...nulls,
      ...zeros,
      id: newId('batch_'),
      organization_id: owner.organizationId,
      project_id: owner.project.id,
      key_id: owner.keyId,
      endpoint: '/v1/chat/completions',
      input_file_id: input.id,
      completion_window: '24h',
      status: 'validating',
      created_at: clock.now(),
      expires_at: clock.now() + 86_400_000,
    };
    await store.db.insertInto('batches').values(row).execute();
    return row;
  }

  function parts(perform: RunParts['perform'], concurrency = 2): RunParts {
    const tables = parseTables({ tiers: [{ name: 'free', limits: {} }] });
    const limits = new RateLimits({ tables, limiter: new MemoryLimiter({ clock }), clock });
    const whose = async () => ({ ownerType: 'user' as const, ownerId: owner.ownerId, test: false });
    return {
      store,
      contents,
      seals,
      queue: new BatchQueue(limits, store.db, whose),
      clock,
      bounds: { bodyBytes: 1 << 20 },
      node: 'node',
      concurrency,
      perform,
      holder: async () => () => owner,
      serves: () => true,
      onError: (error) => {
        throw error;
      },
    };
  }

  let asked = 0;
  const answered = async (order: Order): Promise<Performed> => {
    const requestId = `req_${(asked++).toString(16).padStart(32, '0')}`;
    return {
      requestId,
      status: 200,
      lines: '',
      reply: Buffer.from('{"ok": true}'),
      complete: true,
      event: {
        requestId,
        at: clock.now(),
        organizationId: order.principal.organizationId,
        projectId: order.principal.project.id,
        keyId: order.principal.keyId,
        ownerId: order.principal.ownerId,
        operation: 'chat.completions.create',
        modelAsked: 'm-1',
        modelServed: 'm-1',
        provider: 'mock',
        status: 200,
        outcome: 'ok',
        streamed: false,
        firstByteMs: 1,
        durationMs: 1,
        serviceTier: 'default',
        source: 'provider',
        usage: { ...noUsage(), input: 7, output: 3 },
        test: false,
        batch: true,
        spend: null,
      },
    };
  };

  async function held(lease: string): Promise<BatchRow> {
    const row = await claim(store.db, lease, clock.now(), LEASE_MS);
    if (row === undefined) throw new Error('there is nothing to claim');
    return row;
  }

  test('that is not done when its window ends is expired: what was done is delivered, the rest is told', async () => {
    const { id } = await batch(10);
    let done = 0;
    const run = new BatchRun(
      parts(async (order) => {
        if (++done === 4) clock.advance(86_400_001);
        return await answered(order);
      }, 1),
      await held('a'),
    );
    await run.work();
    const row = await findBatch(store.db, owner.project.id, id);
    expect(row).toMatchObject({ status: 'expired', total: 10, completed: 4, failed: 6 });
    expect(row?.expired_at).toBeGreaterThan(START + 86_400_000);
    const errors = (await textOf(row?.error_file_id ?? null)).trimEnd().split('\n');
    expect(errors.map((line) => JSON.parse(line))).toEqual(
      Array.from({ length: 6 }, (_, n) => ({
        id: expect.stringMatching(/^batch_req_/),
        custom_id: `line-${n + 4}`,
        response: null,
        error: {
          code: 'batch_expired',
          message: 'This request could not be executed before the completion window expired.',
        },
      })),
    );
    expect((await textOf(row?.output_file_id ?? null)).split('\n')).toHaveLength(5);
  });

  test('is held by one node: who lost the lease writes nothing more, and every line has one result', async () => {
    const { id } = await batch(6);
    const first: (() => void)[] = [];
    let free = false;
    const slow = new BatchRun(
      parts(async (order) => {
        if (!free) await new Promise<void>((resolve) => first.push(resolve));
        return await answered(order);
      }),
      await held('a'),
    );
    const slowly = slow.work();
    while (first.length < 2) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await claim(store.db, 'b', clock.now(), LEASE_MS)).toBeUndefined();
    // The first node stands still for longer than its lease.
    clock.advance(LEASE_MS + 1);
    await new BatchRun(parts(answered), await held('b')).work();
    free = true;
    for (const go of first) go();
    await slowly;
    const row = await findBatch(store.db, owner.project.id, id);
    expect(row).toMatchObject({ status: 'completed', completed: 6, failed: 0, input_tokens: 42 });
    expect((await textOf(row?.output_file_id ?? null)).trimEnd().split('\n')).toHaveLength(6);
    const { events } = await store.db
      .selectFrom('usage_segments')
      .select(({ fn }) => fn.sum<number>('events').as('events'))
      .executeTakeFirstOrThrow();
    expect(Number(events)).toBe(6);
  });

  test('whose project is set to keep nothing is cancelled, and nothing of it is kept', async () => {
    const { id } = await batch(6);
    let done = 0;
    const inner = parts(async (order) => {
      done++;
      return await answered(order);
    }, 1);
    const zero = { zero: true, strict: false, loggable: false, pseudonyms: true };
    const none = { models: null, forbiddenTools: null, tiers: null, addresses: null };
    const later: Owner = { ...owner, project: { ...owner.project, controls: { ...none, retention: zero } } };
    await new BatchRun(
      { ...inner, holder: async () => () => (done < 2 ? owner : later) },
      await held('a'),
    ).work();
    const row = await findBatch(store.db, owner.project.id, id);
    expect(row).toMatchObject({ status: 'cancelled', output_file_id: null, error_file_id: null });
    expect(JSON.parse(row?.errors ?? '[]')[0].code).toBe('zero_data_retention');
    expect(await store.db.selectFrom('batch_results').select('line').execute()).toEqual([]);
  });

  test('the files of which are sealed, opens under a new root key once it was wrapped again, and nowhere else', async () => {
    const text = `${'secret words '.repeat(200_000)}`;
    const row = await file(text);
    const pieces = await store.db.selectFrom('contents').selectAll().orderBy('piece').execute();
    expect(pieces).toHaveLength(3);
    for (const { bytes } of pieces) expect(Buffer.from(bytes).includes('secret')).toBe(false);
    sealing = rootKey(randomBytes(32));
    const reports = await rewrapAll(store, seals, sealedColumns);
    expect(reports).toEqual([
      { name: 'files', seen: 3, wrapped: 3, failed: 0 },
      { name: 'upload parts', seen: 0, wrapped: 0, failed: 0 },
      { name: 'batch results', seen: 0, wrapped: 0, failed: 0 },
    ]);
    expect((await rewrapAll(store, seals, sealedColumns))[0]).toMatchObject({ seen: 3, wrapped: 0 });
    expect(await textOf(row.id)).toBe(text);
    // A piece that is moved to another place does not open.
    const [first, second] = await store.db.selectFrom('contents').selectAll().orderBy('piece').execute();
    if (first === undefined || second === undefined) throw new Error('pieces are missing');
    await store.db
      .updateTable('contents')
      .set({ bytes: second.bytes })
      .where('piece', '=', first.piece)
      .execute();
    await expect(textOf(row.id)).rejects.toThrow(/cannot be opened/);
  });

  test('what an upload left behind is dropped, and what was deleted too', async () => {
    const name = { organizationId: owner.organizationId, projectId: owner.project.id, id: newId('file-') };
    await contents.write(name, clock.now(), Readable.from([randomBytes(3 << 20)]));
    expect(await contents.dropSome(clock.now())).toBe(false);
    clock.advance(2 * 86_400_000);
    while (await contents.dropSome(clock.now()));
    expect(await store.db.selectFrom('contents').select('piece').execute()).toEqual([]);
    expect(await store.db.selectFrom('content_drops').select('content_id').execute()).toEqual([]);
  });
});
