// Bounds that turned out too low. What a call can cost at most is computed before it is made, from its prompt, its
// limit on output and the price list; if a provider bills more, that bound was wrong for this model, and it would be
// wrong again. So from the first time on, the model's bounds are raised by what was seen, until the process ends:
// what cannot be prevented once is not repeated. The road notes what `settle` returns and asks before `reserve`.

/** Models remembered; far more than any provider serves. Beyond, the one that was noted first is forgotten. */
const REMEMBERED = 1000;
/** Bounds are raised in steps of a thousandth, and a little beyond what was seen. */
const STEPS = 1000;
const MARGIN = 1.05;

export class ExcessWatch {
  private readonly factors = new Map<string, number>();

  /** The bound to reserve for a call of `model`, in nano-dollars: `worst`, or more where that has been too little. */
  raised(model: string, worst: number): number {
    if (this.factors.size === 0) return worst;
    const factor = this.factors.get(model);
    if (factor === undefined) return worst;
    return Math.min(Math.ceil((worst / STEPS) * factor), Number.MAX_SAFE_INTEGER);
  }

  /** A call of `model` that reserved `worst` was billed `actual`, which is more. */
  note(model: string, worst: number, actual: number): void {
    // Where nothing was reserved there is nothing to scale.
    if (actual <= worst || worst === 0) return;
    const seen = Math.ceil((actual / worst) * MARGIN * STEPS);
    const known = this.factors.get(model) ?? STEPS;
    if (seen <= known) return;
    if (this.factors.size >= REMEMBERED && !this.factors.has(model)) {
      for (const first of this.factors.keys()) {
        this.factors.delete(first);
        break;
      }
    }
    this.factors.set(model, seen);
  }

  /** Models whose bounds are raised, with the factor: for metrics, and for whoever mends the price list. */
  entries(): { readonly model: string; readonly factor: number }[] {
    return [...this.factors].map(([model, factor]) => ({ model, factor: factor / STEPS }));
  }
}
