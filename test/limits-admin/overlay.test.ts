import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { drawnPools, tierOfOrganization } from '../../src/limits/draw.ts';
import { LiveLimits } from '../../src/limits/live.ts';
import { DIMENSION_NAMES, type Dimension } from '../../src/limits/model.ts';
import { Overlay } from '../../src/limits/overlay.ts';
import { type Holder, putStatement, type Statement } from '../../src/limits/statements.ts';
import { checkTable, parseTables, type TableInput, tablesOf } from '../../src/limits/tables.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import { ground, ORGANIZATION, PROJECT } from '../store/rows.ts';
import { type StorePlace, stores } from '../store/stores.ts';

type Entries = Record<string, Partial<Record<Dimension, number>>>;

const entry = fc
  .dictionary(fc.constantFrom(...DIMENSION_NAMES.slice(0, 3)), fc.nat(100), { minKeys: 1 })
  .map((limits) => limits as Partial<Record<Dimension, number>>);
const names = fc.constantFrom('gpt-4o', 'gpt-4*', '*', 'all', 'small', 'gpt-4o-mini');
const entries: fc.Arbitrary<Entries> = fc.dictionary(names, entry, { maxKeys: 4 });
const scope = fc.constantFrom('organization', 'project', 'service_account', 'api_key', 'end_user');
const IDS = {
  organization: ORGANIZATION,
  project: PROJECT,
  service_account: 'svc_acct_1',
  api_key: 'key_1',
  end_user: PROJECT,
} as const;
const FIELDS = {
  project: 'projects',
  service_account: 'service_accounts',
  api_key: 'api_keys',
  end_user: 'end_users',
} as const;

/** The table with one statement written into it by hand. */
function written(table: TableInput, { scope: whose, subjectId, name, limits }: Statement): TableInput {
  if (whose === 'organization') {
    const before = table.organizations?.[subjectId] ?? {};
    const own = { ...before.limits, [name]: { ...before.limits?.[name], ...limits } };
    return { ...table, organizations: { ...table.organizations, [subjectId]: { ...before, limits: own } } };
  }
  const field = FIELDS[whose];
  const before = table[field]?.[subjectId] ?? {};
  const own = { ...before, [name]: { ...before[name], ...limits } };
  return { ...table, [field]: { ...table[field], [subjectId]: own } };
}

describe('statements over a table', () => {
  test('mean what they would mean written into the table, and nothing once they are taken away', () => {
    const holders = fc.record({ scope, name: names, limits: entry });
    fc.assert(
      fc.property(entries, entries, entries, fc.array(holders, { maxLength: 8 }), (tier, own, any, said) => {
        const base: TableInput = {
          tiers: [
            { name: 'low', limits: tier },
            { name: 'high', paid_usd: 1, limits: own },
          ],
          groups: { small: ['gpt-4o-mini'] },
          organizations: { [ORGANIZATION]: { limits: own } },
          projects: { [PROJECT]: any, '*': tier },
          end_users: { '*': own },
        };
        const overlay = new Overlay(parseTables(base));
        const statements = new Map<string, Map<string, Statement>>();
        let model = base;
        for (const { scope: whose, name, limits } of said) {
          const holder: Holder = { organizationId: ORGANIZATION, scope: whose, subjectId: IDS[whose] };
          const known = statements.get(whose) ?? new Map<string, Statement>();
          const statement = { ...holder, name, limits: { ...known.get(name)?.limits, ...limits } };
          known.set(name, statement);
          statements.set(whose, known);
          overlay.set(holder, [...known.values()]);
          model = written(model, statement);
        }
        const pools = (tables: typeof overlay.tables) =>
          ['gpt-4o', 'gpt-4o-mini', 'other', null].flatMap((asked) =>
            drawnPools(
              tables,
              {
                organizationId: ORGANIZATION,
                projectId: PROJECT,
                keyId: 'key_1',
                ownerType: 'service_account',
                ownerId: 'svc_acct_1',
                endUser: 'ann',
                model: asked,
              },
              false,
            ).map(({ subject, line, rate }) => [subject.scope, subject.id, line.text, rate.amount]),
          );
        expect(pools(overlay.tables)).toEqual(pools(parseTables(model)));
        for (const whose of statements.keys()) {
          const key = whose as keyof typeof IDS;
          overlay.set({ scope: key, subjectId: IDS[key] }, []);
        }
        expect(pools(overlay.tables)).toEqual(pools(parseTables(base)));
      }),
      { numRuns: 300 },
    );
  });

  test('a pin over the table wins over a pin in it, and one to a tier that is not there counts as none', () => {
    const overlay = new Overlay(
      parseTables({
        tiers: [
          { name: 'a', limits: {} },
          { name: 'b', limits: {} },
          { name: 'c', limits: {} },
        ],
        organizations: { pinned: { tier: 'b' } },
      }),
    );
    const tier = (id: string) => tierOfOrganization(overlay.tables, id, () => 'c').name;
    expect([tier('pinned'), tier('free')]).toEqual(['b', 'c']);
    overlay.pin('pinned', 'a');
    overlay.pin('free', 'a');
    expect([tier('pinned'), tier('free')]).toEqual(['a', 'a']);
    overlay.pin('pinned', 'gone');
    overlay.pin('free', null);
    expect([tier('pinned'), tier('free')]).toEqual(['b', 'c']);
  });
});

describe.each(stores)('statements on $kind', ({ fresh }) => {
  let place: StorePlace;
  afterEach(() => place.remove());

  test('thousands of them are all there after a start, whoever they are about', async () => {
    place = await fresh();
    const store = await place.open();
    const count = 2_345;
    await store.write(async (tx) => {
      await ground(tx);
      for (let i = 0; i < count; i++) {
        await putStatement(
          store,
          tx,
          {
            organizationId: ORGANIZATION,
            scope: i % 2 === 0 ? 'api_key' : 'project',
            subjectId: `subject_${i % 700}`,
            name: `model-${i}`,
            limits: { requests_per_minute: i },
          },
          1,
        );
      }
    });
    const live = new LiveLimits(
      tablesOf(checkTable({ tiers: [{ name: 'a', limits: {} }] })),
      new ManualClock(),
    );
    await live.load(store);
    const { apiKeys, projects } = live.tables;
    const all = [...apiKeys.values(), ...projects.values()].flatMap((map) => [...map.named]);
    expect(all).toHaveLength(count);
    for (const [name, limits] of all) expect(name).toBe(`model-${limits.requests_per_minute}`);
  });
});
