// Time, injected. Everything that reads a clock takes one of these, so that a day of limits is tested in a
// millisecond.

export interface Clock {
  /** Wall time: milliseconds since the Unix epoch, an integer. It may step backwards. */
  now(): number;
  /** Monotonic time: milliseconds since an arbitrary start, with a fraction. It never steps backwards. */
  monotonic(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
};

/** A clock that moves only when told to; both readings advance together unless `step` moves the wall alone. */
export class ManualClock implements Clock {
  private wall: number;
  private mono = 0;

  constructor(startMs = Date.UTC(2026, 0, 1)) {
    this.wall = startMs;
  }

  now(): number {
    return this.wall;
  }

  monotonic(): number {
    return this.mono;
  }

  /** Let `ms` milliseconds pass. */
  advance(ms: number): void {
    this.wall += ms;
    this.mono += ms;
  }

  /** Set the wall clock by `ms`, forwards or back, as an operator or NTP would; monotonic time is untouched. */
  step(ms: number): void {
    this.wall += ms;
  }
}
