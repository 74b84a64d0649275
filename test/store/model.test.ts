import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import type { Store } from '../../src/store/store.ts';
import { segment, segmentNumber } from './rows.ts';
import { type StorePlace, stores } from './stores.ts';

/** What one caller does, step after step; several callers run at once. */
type Step =
  | {
      readonly do: 'write';
      readonly set: readonly [name: string, value: number][];
      readonly yields: number;
      readonly fails: boolean;
    }
  | { readonly do: 'transfer'; readonly from: string; readonly to: string; readonly yields: number }
  | { readonly do: 'append' }
  | { readonly do: 'read' };

const NAMES = ['a', 'b', 'c'];
const START = 100;

const name = fc.constantFrom(...NAMES);
const yields = fc.integer({ min: 0, max: 3 });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('write' as const),
    set: fc.array(fc.tuple(fc.constantFrom('x', 'y', 'z'), fc.integer()), { maxLength: 3 }),
    yields,
    fails: fc.boolean(),
  }),
  fc.record({ do: fc.constant('transfer' as const), from: name, to: name, yields }),
  fc.record({ do: fc.constant('append' as const) }),
  fc.record({ do: fc.constant('read' as const) }),
);

class Undone extends Error {}

const pause = async (times: number) => {
  for (let i = 0; i < times; i++) await new Promise((resolve) => setImmediate(resolve));
};

async function all(db: Pick<Store['db'], 'selectFrom'>): Promise<Map<string, number>> {
  const rows = await db.selectFrom('meta').selectAll().execute();
  return new Map(rows.map((row) => [row.name, Number(row.value)]));
}

describe.each(stores)(
  'any interleaving of writes, roll-backs, appends and reads on $kind',
  ({ kind, fresh }) => {
    let place: StorePlace;
    afterEach(() => place.remove());

    it('leaves what a plain model has after the committed writes in commit order, and shows no half-made state', async () => {
      place = await fresh();
      const store = await place.open();
      const noticed: string[] = [];
      store.follow(0, (changes) => {
        noticed.push(...changes.map((change) => change.objectId));
      });
      let number = 0;

      const run = async (callers: readonly (readonly Step[])[]) => {
        await store.write(async (tx) => {
          await tx.deleteFrom('meta').execute();
          await tx
            .insertInto('meta')
            .values(NAMES.map((each) => ({ name: each, value: String(START) })))
            .execute();
        });
        await store.db.deleteFrom('usage_segments').execute();
        noticed.length = 0;

        const model = new Map(NAMES.map((each) => [each, START]));
        const committed: string[] = [];
        const appended: number[] = [];
        let tag = 0;

        const perform = async (each: Step) => {
          if (each.do === 'append') {
            const mine = number++;
            await store.appendSegment(segment(mine));
            appended.push(mine);
            return;
          }
          if (each.do === 'read') {
            const seen = await all(store.db);
            // No transfer is ever seen half-made.
            expect(NAMES.reduce((sum, key) => sum + (seen.get(key) ?? 0), 0)).toBe(START * NAMES.length);
            return;
          }
          const id = `t${tag++}`;
          const work = store.write(async (tx) => {
            // Nobody else is inside: the state is exactly the model's.
            const before = await all(tx);
            expect(before).toEqual(model);
            const after = new Map(before);
            if (each.do === 'transfer') {
              after.set(each.from, (after.get(each.from) ?? 0) - 1);
              after.set(each.to, (after.get(each.to) ?? 0) + 1);
            } else for (const [key, value] of each.set) after.set(key, value);
            for (const [key, value] of after) {
              if (before.get(key) === value) continue;
              await pause(each.yields);
              await tx
                .insertInto('meta')
                .values({ name: key, value: String(value) })
                .onConflict((conflict) => conflict.column('name').doUpdateSet({ value: String(value) }))
                .execute();
            }
            await store.announce(tx, 'project', id, 1);
            if (each.do === 'write' && each.fails) throw new Undone();
            // The last thing before the commit, and nobody else can be between.
            for (const [key, value] of after) model.set(key, value);
            committed.push(id);
          });
          await work.catch((error: unknown) => {
            if (!(error instanceof Undone)) throw error;
          });
          if (!(each.do === 'write' && each.fails)) expect(noticed).toContain(id);
        };

        await Promise.all(
          callers.map(async (steps) => {
            for (const each of steps) await perform(each);
          }),
        );
        expect(await all(store.db)).toEqual(model);
        expect(noticed).toEqual(committed);
        const segments = await store.db.selectFrom('usage_segments').select('payload').execute();
        expect(segments.map((row) => segmentNumber(row.payload)).sort()).toEqual(appended.sort());
      };

      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(step, { maxLength: 6 }), { minLength: 1, maxLength: 5 }), run),
        {
          numRuns: kind === 'sqlite' ? 40 : 20,
          interruptAfterTimeLimit: 8000,
          markInterruptAsFailure: false,
        },
      );
      expect(place.errors).toEqual([]);
    });
  },
);
