// No statement that goes to a database carries a secret, on both stores: every statement and every parameter of setting,
// reading, changing, wrapping again and removing secrets is looked at as it leaves.

import { randomBytes } from 'node:crypto';
import type { CompiledQuery } from 'kysely';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { bootstrap } from '../../src/access/bootstrap.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { OrganizationId, ProjectId } from '../../src/platform/ids.ts';
import { deleteSecret, namedSecretsColumn, SecretReader, setSecret } from '../../src/secrets/named.ts';
import { rewrapAll } from '../../src/secrets/rewrap.ts';
import { rootKey } from '../../src/secrets/root.ts';
import { Secret } from '../../src/secrets/secret.ts';
import { stores } from '../store/stores.ts';
import { testSeals } from './seals.ts';

afterEach(() => vi.restoreAllMocks());

describe.each(stores)('statements on $kind', (kind) => {
  it('hold no secret, neither as text nor as bytes', async () => {
    const place = await kind.fresh();
    try {
      const clock = new ManualClock();
      const store = await place.open({ clock });
      const made = await bootstrap({ store, clock, adminKey: null });
      if (made === null) throw new Error('the store was not empty');
      const seen: CompiledQuery[] = [];
      const executor = Object.getPrototypeOf(Object.getPrototypeOf(store.db.getExecutor()));
      const original = executor.executeQuery;
      vi.spyOn(executor, 'executeQuery').mockImplementation(function (this: unknown, ...given: unknown[]) {
        seen.push(given[0] as CompiledQuery);
        return original.apply(this, given);
      });
      const { seals, keys } = testSeals();
      const organizationId = made.organizationId as OrganizationId;
      const by = { organizationId, actor: { type: 'setup' } as const, at: clock.now() };
      const marker = 'MARKER-0123456789';
      for (const projectId of [null, made.projectId as ProjectId]) {
        const owner = { organizationId, projectId };
        for (const value of [`${marker}-one`, `${marker}-two`]) {
          await setSecret(store, seals, by, owner, 'main', new Secret(value));
          const reader = new SecretReader(store, seals, 'node', () => clock.now());
          expect((await reader.read(owner, 'main')).reveal()).toBe(value);
        }
        keys.unshift(rootKey(randomBytes(32)));
        const [report] = await rewrapAll(store, seals, [namedSecretsColumn]);
        expect(report).toMatchObject({ failed: 0 });
        expect(report?.wrapped).toBeGreaterThan(0);
      }
      await deleteSecret(store, by, { organizationId, projectId: null }, 'main');
      const bound = seen.flatMap(({ parameters }) => parameters);
      expect(seen.some(({ sql }) => sql.includes('sealed_secrets'))).toBe(true);
      expect(bound.some((value) => value instanceof Uint8Array && value.length > 100)).toBe(true);
      const everything = Buffer.concat(
        [...seen.map(({ sql }) => sql), ...bound].map((value) =>
          value instanceof Uint8Array ? Buffer.from(value) : Buffer.from(String(value)),
        ),
      );
      expect(everything.includes('MARKER')).toBe(false);
      expect(everything.includes(Buffer.from(marker).toString('base64').slice(0, 20))).toBe(false);
      expect(everything.includes(Buffer.from(marker).toString('hex'))).toBe(false);
    } finally {
      await place.remove();
    }
  });
});
