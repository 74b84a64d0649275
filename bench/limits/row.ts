// One figure of the bench.

export interface Row {
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  /** What it should be, if there is such a goal. */
  readonly goal?: string;
}

/**
 * Microseconds of processor time of one `act`, the median of five rounds of `times` after a warm-up: other work on the
 * machine may delay a round, but is not counted.
 */
export function microseconds(times: number, act: (i: number) => void): number {
  const rounds: number[] = [];
  for (let i = 0; i < times / 2; i++) act(i);
  for (let round = 0; round < 5; round++) {
    const began = process.cpuUsage();
    for (let i = 0; i < times; i++) act(i);
    const { user, system } = process.cpuUsage(began);
    rounds.push((user + system) / times);
  }
  return rounds.sort((a, b) => a - b)[2] ?? Number.NaN;
}
