import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Call, type Keeper } from '../../src/gateway/call.ts';
import type { Peer } from '../../src/gateway/peer.ts';
import { Underway } from '../../src/gateway/underway.ts';
import { newRequestId } from '../../src/platform/ids.ts';

// Neither is looked at here.
const nothing = {} as unknown as Peer & Keeper;

describe('the calls under way', () => {
  it('are exactly those that entered and have not left, in whatever order they leave', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 200 }), (steps) => {
        const calls = Array.from({ length: 21 }, (_, i) => new Call(nothing, nothing, newRequestId(i), i, i));
        const underway = new Underway();
        const model = new Set<Call>();
        for (const step of steps) {
          const call = calls[step];
          if (call === undefined) continue;
          if (model.has(call)) {
            model.delete(call);
            underway.leave(call);
          } else {
            model.add(call);
            underway.enter(call);
          }
          expect(new Set(underway.calls())).toEqual(model);
          expect(underway.size).toBe(model.size);
        }
      }),
    );
  });
});
