// How much of what strangers can cause may go into the audit log: at most 10 entries at once and then one every 10
// seconds for each subject, so at most 8,650 a day. What is beyond is counted, and the next entry says how many were
// left out before it.

import type { Clock } from '../platform/clock.ts';

const BURST = 10;
const REFILL_MS = 10_000;
const SUBJECTS_MAX = 1_000;

interface Room {
  left: number;
  filledAt: number;
  leftOut: number;
}

export class BoundedLog {
  readonly #clock: Clock;
  readonly #rooms = new Map<string, Room>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Runs `write` if there is room for this subject, telling it how many were left out before. Rejects if `write` does;
   * the entry then counts as left out.
   */
  async record(subject: string, write: (leftOutBefore: number) => Promise<void>): Promise<void> {
    const room = this.#room(subject);
    if (room.left === 0) {
      room.leftOut += 1;
      return;
    }
    room.left -= 1;
    const leftOut = room.leftOut;
    room.leftOut = 0;
    try {
      await write(leftOut);
    } catch (error) {
      room.leftOut += leftOut + 1;
      throw error;
    }
  }

  #room(subject: string): Room {
    const now = this.#clock.monotonic();
    let room = this.#rooms.get(subject);
    if (room === undefined) {
      if (this.#rooms.size >= SUBJECTS_MAX) this.#rooms.clear();
      room = { left: BURST, filledAt: now, leftOut: 0 };
      this.#rooms.set(subject, room);
    }
    const refilled = Math.floor((now - room.filledAt) / REFILL_MS);
    room.left = Math.min(BURST, room.left + refilled);
    room.filledAt += refilled * REFILL_MS;
    return room;
  }
}
