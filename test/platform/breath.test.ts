import { describe, expect, it } from 'vitest';
import { Breath } from '../../src/platform/breath.ts';
import { ManualClock } from '../../src/platform/clock.ts';

describe('work that nobody waits for', () => {
  it('is rested from when it has lasted for its time, and not before', () => {
    let looks = 0;
    const clock = new ManualClock();
    const counting = {
      now: () => clock.now(),
      monotonic: () => {
        looks++;
        return clock.monotonic();
      },
    };
    const breath = new Breath(counting, 2, 0.01);
    const rests = () => {
      looks = 0;
      breath.take();
      // Before and after a rest it looks at the clock.
      return looks === 2;
    };
    expect(rests()).toBe(false);
    clock.advance(1);
    expect(rests()).toBe(false);
    clock.advance(1);
    expect(rests()).toBe(true);
    expect(rests()).toBe(false);
    clock.advance(2);
    expect(rests()).toBe(true);
  });
});
