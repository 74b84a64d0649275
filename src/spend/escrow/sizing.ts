// How much a node holds ahead of need: enough that the road seldom waits, little enough that a crash loses little and
// other nodes find what is left. The rule is in protocol.ts; here are its numbers.

/** Spend of this long is held ahead, in milliseconds. */
const HORIZON_MS = 2_000;
/** Never more ahead than this share of what no node holds. */
const SHARE = 1 / 512;
/** Over how long the rate of spend is averaged, in milliseconds. */
const RATE_MS = 2_000;
/** The memory of how much was reserved at once, and of how fast traffic began, fades by half in this time, in milliseconds. */
const PEAK_HALF_MS = 2_000;
/** What is ahead was used up early when it did not last so long, in milliseconds. */
const EARLY_MS = 500;
/** Calls that an account holds ahead when its traffic begins. */
const FIRST_CALLS = 4;

/** What an account's traffic looked like, for sizing only: an error here costs a wait, never money. */
export class Demand {
  /** Nano-dollars a millisecond. */
  private rate = 0;
  private heldPeak = 0;
  /**
   * At least this is held ahead. It doubles whenever what was ahead is used up early, because traffic that begins, or comes
   * back from a rest, is fast long before its average is: until then its calls would wait for turn after turn.
   */
  private lead = 0;
  private grantedAt: number;
  private spentThen: number;
  private at: number;
  /** The worst case of the last call. */
  private typical = 0;

  constructor(spent: number, mono: number) {
    this.spentThen = spent;
    this.at = mono;
    this.grantedAt = mono;
  }

  /** A call reserved `worst`, so that `held` is reserved now. On the road: three assignments. */
  reserved(worst: number, held: number): void {
    this.typical = worst;
    if (held > this.heldPeak) this.heldPeak = held;
  }

  /** A call of `typical` found too little, or half of what was ahead is used. */
  ranLow(typical: number, mono: number): void {
    if (typical > this.typical) this.typical = typical;
    if (mono - this.grantedAt < EARLY_MS) this.lead = Math.max(this.lead * 2, this.typical * FIRST_CALLS);
  }

  /** The store has just answered. */
  granted(mono: number): void {
    this.grantedAt = mono;
  }

  /** Takes note of what was spent until now. */
  observe(spent: number, held: number, mono: number): void {
    const passed = mono - this.at;
    if (passed <= 0) return;
    const weight = passed / (passed + RATE_MS);
    this.rate += weight * ((spent - this.spentThen) / passed - this.rate);
    const faded = 0.5 ** (passed / PEAK_HALF_MS);
    this.heldPeak = Math.max(held, this.heldPeak * faded);
    this.lead *= faded;
    this.spentThen = spent;
    this.at = mono;
  }

  /** The most that may be held ahead, given what no node holds: nothing, when it would not bear a call. */
  most(left: number): number {
    const most = Math.floor(left * SHARE);
    return most < this.typical ? 0 : most;
  }

  /** What to hold beyond what is spent and reserved, given what no node holds; whole nano-dollars. */
  ahead(held: number, left: number): number {
    const demand = Math.max(0, this.rate) * HORIZON_MS + Math.max(0, this.heldPeak - held);
    return Math.floor(Math.min(Math.max(demand, this.lead), this.most(left)));
  }
}
