// How much a node holds ahead of need: enough that the road seldom waits, little enough that a crash loses little and
// other nodes find what is left. The rule is in protocol.ts; here are its numbers.

/** Spend of this long is held ahead, in milliseconds. */
const HORIZON_MS = 2_000;
/** Never more ahead than this share of what no node holds. */
const SHARE = 1 / 512;
/** Over how long the rate of spend is averaged, in milliseconds. */
const RATE_MS = 2_000;
/** The memory of how much was reserved at once fades by half in this time, in milliseconds. */
const PEAK_HALF_MS = 1_000;

/** What an account's traffic looked like, for sizing only: an error here costs a wait, never money. */
export class Demand {
  /** Nano-dollars a millisecond. */
  private rate = 0;
  private heldPeak = 0;
  private spentThen: number;
  private at: number;
  /** The worst case of the last call. */
  private typical = 0;

  constructor(spent: number, mono: number) {
    this.spentThen = spent;
    this.at = mono;
  }

  /** A call reserved `worst`, so that `held` is reserved now. On the road: three assignments. */
  reserved(worst: number, held: number): void {
    this.typical = worst;
    if (held > this.heldPeak) this.heldPeak = held;
  }

  /** Takes note of what was spent until now. */
  observe(spent: number, held: number, mono: number): void {
    const passed = mono - this.at;
    if (passed <= 0) return;
    const weight = passed / (passed + RATE_MS);
    this.rate += weight * ((spent - this.spentThen) / passed - this.rate);
    this.heldPeak = Math.max(held, this.heldPeak * 0.5 ** (passed / PEAK_HALF_MS));
    this.spentThen = spent;
    this.at = mono;
  }

  /** What to hold beyond what is spent and reserved, given what no node holds; whole nano-dollars. */
  ahead(held: number, left: number): number {
    const demand = Math.max(0, this.rate) * HORIZON_MS + Math.max(0, this.heldPeak - held);
    const ahead = Math.floor(Math.min(demand, left * SHARE));
    return ahead < this.typical ? 0 : ahead;
  }
}
