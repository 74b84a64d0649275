// How long a project's key may be used: a plain model of what is promised against every order of yes, no, silence and
// time, on a clock that the test moves.

import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CloudError } from '../../src/clouds/error.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { OrganizationId, ProjectId } from '../../src/platform/ids.ts';
import { HeldKeys } from '../../src/secrets/external/held.ts';
import type { Place } from '../../src/secrets/purpose.ts';

const LIFETIME = 60_000;
const OWNER = { organizationId: 'org-a' as OrganizationId, projectId: 'proj_a' as ProjectId };
const PLACE: Place = { ...OWNER, purpose: 'file', id: 'file-1' };
const ID = randomBytes(16).toString('hex');

type Service = 'yes' | 'no' | 'silent';

function world() {
  const clock = new ManualClock();
  const service = { says: 'yes' as Service };
  const turns: string[] = [];
  const held = new HeldKeys({
    unwrap: async () => {
      if (service.says === 'no') throw new CloudError('denied', 'AWS kms answered DisabledException (400).');
      if (service.says === 'silent') throw new CloudError('unavailable', 'no answer');
      return [{ id: ID, bytes: Buffer.alloc(32, 7) }];
    },
    unwrapFormer: async () => Buffer.alloc(32, 9),
    lifetimeMs: LIFETIME,
    clock,
    turned: (_, state) => turns.push(state),
    onError: (error) => {
      throw error;
    },
  });
  return { clock, service, held, turns };
}

async function step(held: HeldKeys, clock: ManualClock, ms: number): Promise<void> {
  // As the timer does: twelve looks a lifetime.
  for (let left = ms; left > 0; left -= LIFETIME / 12) {
    clock.advance(Math.min(left, LIFETIME / 12));
    held.look();
    await held.settled();
  }
}

describe('a project’s key', () => {
  it('is dark until the service said yes, then held, and the project can seal and open', async () => {
    const { held, turns } = world();
    const key = held.stateOf(OWNER, 'extkey_1');
    expect(key?.refusal).toMatchObject({ status: 503, code: 'external_key_unavailable' });
    await expect(held.sealing(PLACE)).rejects.toMatchObject({ status: 503 });
    await held.settled();
    expect(key?.refusal).toBeNull();
    expect((await held.sealing(PLACE))?.id.toString('hex')).toBe(ID);
    expect(turns).toEqual(['held']);
    expect(held.stateOf(OWNER, 'extkey_1')).toBe(key);
  });

  it('is gone within a third of its lifetime after a no, with 403, and back with the next yes', async () => {
    const { held, clock, service, turns } = world();
    const key = held.stateOf(OWNER, 'extkey_1');
    await held.settled();
    const used = await held.sealing(PLACE);
    service.says = 'no';
    await step(held, clock, LIFETIME / 3);
    expect(key?.refusal).toMatchObject({ status: 403, code: 'external_key_revoked' });
    await expect(held.opening(PLACE, Buffer.from(ID, 'hex'))).rejects.toMatchObject({ status: 403 });
    // What was in memory was overwritten: even code that kept the key cannot use it.
    expect(() => used?.derive('file', 1)).toThrow('destroyed');
    service.says = 'silent';
    await step(held, clock, LIFETIME * 2);
    expect(key?.refusal).toMatchObject({ status: 403 });
    service.says = 'yes';
    await step(held, clock, LIFETIME / 3);
    expect(key?.refusal).toBeNull();
    expect(turns).toEqual(['held', 'revoked', 'held']);
  });

  it('is used on while the service is silent, but never longer than its lifetime', async () => {
    const { held, clock, service } = world();
    const key = held.stateOf(OWNER, 'extkey_1');
    await held.settled();
    service.says = 'silent';
    await step(held, clock, LIFETIME * 0.8);
    expect(key?.refusal).toBeNull();
    await step(held, clock, LIFETIME * 0.2);
    expect(key?.refusal).toMatchObject({ status: 503, code: 'external_key_unavailable' });
  });

  it('never outlives one lifetime after the last yes, and is there whenever the service just said yes', async () => {
    const says = fc.constantFrom<Service>('yes', 'no', 'silent');
    const moves = fc.array(fc.tuple(says, fc.integer({ min: 1, max: LIFETIME * 2 })), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(moves, async (order) => {
        const { held, clock, service } = world();
        const key = held.stateOf(OWNER, 'extkey_1');
        await held.settled();
        let lastYes = clock.monotonic();
        for (const [answer, ms] of order) {
          service.says = answer;
          for (let left = ms; left > 0; left -= LIFETIME / 12) {
            const before = key?.askedAt;
            clock.advance(Math.min(left, LIFETIME / 12));
            held.look();
            await held.settled();
            const asked = key?.askedAt !== before;
            if (asked && answer === 'yes') lastYes = clock.monotonic();
            const usable = key?.refusal === null;
            if (usable) expect(clock.monotonic() - lastYes).toBeLessThan(LIFETIME);
            if (asked && answer === 'yes') expect(usable).toBe(true);
            if (asked && answer === 'no') expect(usable).toBe(false);
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  it('of a project that has it no more is overwritten, and what it sealed is unwrapped for one lifetime at a time', async () => {
    const { held, clock } = world();
    held.stateOf(OWNER, 'extkey_1');
    await held.settled();
    const used = await held.sealing(PLACE);
    expect(held.stateOf(OWNER, null)).toBeNull();
    expect(() => used?.derive('file', 1)).toThrow('destroyed');
    expect(await held.sealing(PLACE)).toBeNull();
    const former = await held.opening(PLACE, Buffer.from(ID, 'hex'));
    expect(await held.opening(PLACE, Buffer.from(ID, 'hex'))).toBe(former);
    await step(held, clock, LIFETIME);
    expect(() => former.derive('file', 1)).toThrow('destroyed');
  });
});
