// Buckets by the million: an open-addressing hash table in typed arrays, 32 bytes a slot, nothing for the garbage
// collector to look at.
//
// A bucket is named by its subject's 64-bit fingerprint and its line's number. A full bucket is the same as none, so
// full ones are dropped: a few slots are examined at each call (`sweep`), and a shard throws out what is full before
// it grows. The table is cut into 1,024 shards that grow and shrink alone, so the longest pause is the copy of one.
//
// Slot: words [high, low, line + 1, rate], then doubles [used, at]. Line 0 marks a free slot. Linear probing; a removal
// moves the followers back, so there are no tombstones. The dimensions of one subject's model hash alike, so that a
// call's buckets lie side by side.

import { convertDown, convertUp, type Rate, rateById, shifted, usedAt } from './bucket.ts';
import type { Pool } from './model.ts';

const SHARD_BITS = 10;
const SHARDS = 1 << SHARD_BITS;
const SMALLEST = 8;

class Shard {
  readonly slots: number;
  readonly words: Int32Array;
  readonly numbers: Float64Array;
  count = 0;

  constructor(slots: number) {
    this.slots = slots;
    // Both lie over the same bytes, so that a slot is half a line of the processor's cache.
    const bytes = new ArrayBuffer(slots * 32);
    this.words = new Int32Array(bytes);
    this.numbers = new Float64Array(bytes);
  }
}

export class BucketTable {
  private readonly shards: (Shard | undefined)[] = new Array<Shard | undefined>(SHARDS).fill(undefined);
  private total = 0;
  private sweptShard = 0;
  private sweptSlot = 0;

  /** Buckets that are held, among them some that are full and not yet dropped. */
  get size(): number {
    return this.total;
  }

  /** Bytes of the arrays. */
  get bytes(): number {
    let sum = 0;
    for (const shard of this.shards) if (shard !== undefined) sum += shard.slots * 32;
    return sum;
  }

  /** Units of the pool's own limit that are used at `now`. A clock set back moves the bucket's instant to `now`. */
  used(pool: Pool, now: number): number {
    const hash = hashOf(pool.high, pool.low, pool.lineId);
    const shard = this.shards[hash >>> (32 - SHARD_BITS)];
    if (shard === undefined) return 0;
    const slot = find(shard, hash, pool);
    if (slot < 0) return 0;
    const { numbers } = shard;
    const at = at0(numbers, slot * 4 + 3);
    if (at > now) numbers[slot * 4 + 3] = now;
    return level(at0(shard.words, slot * 8 + 3), at0(numbers, slot * 4 + 2), at, now, pool.rate);
  }

  /** Sets the pool's bucket at `now`; returns whether it is a new one. */
  set(pool: Pool, used: number, now: number): boolean {
    const hash = hashOf(pool.high, pool.low, pool.lineId);
    const index = hash >>> (32 - SHARD_BITS);
    let shard = this.shards[index];
    let slot = shard === undefined ? -1 : find(shard, hash, pool);
    const isNew = slot < 0;
    if (isNew) {
      if (used === 0) return false;
      if (shard === undefined || (shard.count + 1) * 4 > shard.slots * 3) shard = this.rebuild(index, now);
      slot = free(shard, hash);
      shard.words[slot * 8] = pool.high;
      shard.words[slot * 8 + 1] = pool.low;
      shard.words[slot * 8 + 2] = pool.lineId + 1;
      shard.count++;
      this.total++;
    }
    if (shard === undefined) return false;
    shard.words[slot * 8 + 3] = pool.rate.id;
    shard.numbers[slot * 4 + 2] = used;
    shard.numbers[slot * 4 + 3] = now;
    return isNew;
  }

  /** Uses `units` of the pool's limit more, or gives them back when negative, under the limit that the bucket has now. */
  shift(pool: Pool, units: number, now: number): void {
    const hash = hashOf(pool.high, pool.low, pool.lineId);
    const shard = this.shards[hash >>> (32 - SHARD_BITS)];
    const slot = shard === undefined ? -1 : find(shard, hash, pool);
    if (shard !== undefined && slot >= 0) {
      const { numbers } = shard;
      const { perMs } = rateById(at0(shard.words, slot * 8 + 3));
      const used = usedAt(at0(numbers, slot * 4 + 2), at0(numbers, slot * 4 + 3), now, perMs);
      if (used > 0) {
        const from = pool.rate.perMs;
        numbers[slot * 4 + 2] = shifted(
          used,
          units > 0 ? convertUp(units, from, perMs) : -convertDown(-units, from, perMs),
        );
        numbers[slot * 4 + 3] = now;
        return;
      }
    }
    if (units > 0) this.set(pool, shifted(0, units), now);
  }

  /** Examines up to `budget` slots, in turn over the whole table, and drops the buckets that are full. */
  sweep(budget: number, now: number): void {
    let shard = this.shards[this.sweptShard];
    for (let i = 0; i < budget; i++) {
      if (shard === undefined || this.sweptSlot >= shard.slots) {
        if (shard !== undefined) this.tighten(this.sweptShard, shard, now);
        this.sweptShard = (this.sweptShard + 1) % SHARDS;
        this.sweptSlot = 0;
        shard = this.shards[this.sweptShard];
        continue;
      }
      // A removal moves another bucket into the slot, which is examined next.
      if (isFull(shard, this.sweptSlot, now)) {
        remove(shard, this.sweptSlot);
        this.total--;
      } else this.sweptSlot++;
    }
  }

  private tighten(index: number, shard: Shard, now: number): void {
    if (shard.slots > SMALLEST && shard.count * 8 < shard.slots) this.rebuild(index, now);
  }

  /** Copies what is not full into a shard of the right size: at most half full, so that growth is paid for. */
  private rebuild(index: number, now: number): Shard {
    const old = this.shards[index];
    let live = 0;
    if (old !== undefined) {
      for (let slot = 0; slot < old.slots; slot++) {
        if (old.words[slot * 8 + 2] !== 0 && !isFull(old, slot, now)) live++;
      }
    }
    let slots = SMALLEST;
    while (slots < (live + 1) * 2) slots *= 2;
    const shard = new Shard(slots);
    if (old !== undefined) {
      for (let slot = 0; slot < old.slots; slot++) {
        if (old.words[slot * 8 + 2] === 0 || isFull(old, slot, now)) continue;
        copy(old, slot, shard, free(shard, slotHash(old, slot)));
        shard.count++;
      }
      this.total -= old.count - shard.count;
    }
    this.shards[index] = shard;
    return shard;
  }
}

/** The element of a typed array that is known to be inside. */
function at0(array: Int32Array | Float64Array, index: number): number {
  return array[index] ?? 0;
}

/** The top bits choose the shard, the low ones the slot. */
function hashOf(high: number, low: number, line: number): number {
  let hash = low ^ Math.imul((line >>> 3) + 1, 0x9e3779b1) ^ Math.imul(high, 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846ca68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function slotHash(shard: Shard, slot: number): number {
  const { words } = shard;
  return hashOf(at0(words, slot * 8), at0(words, slot * 8 + 1), at0(words, slot * 8 + 2) - 1);
}

function find(shard: Shard, hash: number, { high, low, lineId }: Pool): number {
  const { words } = shard;
  const mask = shard.slots - 1;
  const wanted = lineId + 1;
  for (let slot = hash & mask; ; slot = (slot + 1) & mask) {
    const found = at0(words, slot * 8 + 2);
    if (found === 0) return -1;
    if (found === wanted && words[slot * 8] === high && words[slot * 8 + 1] === low) return slot;
  }
}

function free(shard: Shard, hash: number): number {
  const mask = shard.slots - 1;
  let slot = hash & mask;
  while (shard.words[slot * 8 + 2] !== 0) slot = (slot + 1) & mask;
  return slot;
}

function level(rateId: number, used: number, at: number, now: number, rate: Rate): number {
  if (rateId === rate.id) return usedAt(used, at, now, rate.perMs);
  const old = rateById(rateId);
  return convertUp(usedAt(used, at, now, old.perMs), old.perMs, rate.perMs);
}

function isFull(shard: Shard, slot: number, now: number): boolean {
  if (shard.words[slot * 8 + 2] === 0) return false;
  const { perMs } = rateById(at0(shard.words, slot * 8 + 3));
  return usedAt(at0(shard.numbers, slot * 4 + 2), at0(shard.numbers, slot * 4 + 3), now, perMs) === 0;
}

function copy(from: Shard, slot: number, to: Shard, target: number): void {
  for (let i = 0; i < 4; i++) to.words[target * 8 + i] = at0(from.words, slot * 8 + i);
  to.numbers[target * 4 + 2] = at0(from.numbers, slot * 4 + 2);
  to.numbers[target * 4 + 3] = at0(from.numbers, slot * 4 + 3);
}

/** Frees a slot and moves back every follower that probing would no longer reach. */
function remove(shard: Shard, slot: number): void {
  const mask = shard.slots - 1;
  let hole = slot;
  for (let next = (hole + 1) & mask; shard.words[next * 8 + 2] !== 0; next = (next + 1) & mask) {
    const home = slotHash(shard, next) & mask;
    // It may move when its home is not cyclically within (hole, next].
    if (((next - home) & mask) >= ((next - hole) & mask)) {
      copy(shard, next, shard, hole);
      hole = next;
    }
  }
  shard.words[hole * 8 + 2] = 0;
  shard.count--;
}
