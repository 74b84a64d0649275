// The windows over which a budget is counted: calendar days, weeks and months in UTC, or all time. A window is named
// by the moment it begins.

/** Weeks begin on Monday (ISO 8601). */
export type Period = 'day' | 'week' | 'month' | 'total';

export const PERIODS: readonly Period[] = ['day', 'week', 'month', 'total'];

export interface Window {
  /** Milliseconds since the epoch; 0 for all time. */
  readonly start: number;
  /** The first moment that is no longer in it; Infinity for all time. */
  readonly end: number;
}

const DAY_MS = 86_400_000;
/** The epoch was a Thursday: its week began three days before. */
const MONDAY_OFFSET_MS = 3 * DAY_MS;

/**
 * The window that `atMs` is in.
 * @throws RangeError if `atMs` is not a moment that a calendar has
 */
export function windowAt(period: Period, atMs: number): Window {
  if (!Number.isInteger(atMs) || atMs < 0 || atMs > 8.64e15) throw new RangeError(`${atMs} is not a time`);
  switch (period) {
    case 'day': {
      const start = atMs - (atMs % DAY_MS);
      return { start, end: start + DAY_MS };
    }
    case 'week': {
      const start = Math.max(0, atMs - ((atMs + MONDAY_OFFSET_MS) % (7 * DAY_MS)));
      return { start, end: atMs - ((atMs + MONDAY_OFFSET_MS) % (7 * DAY_MS)) + 7 * DAY_MS };
    }
    case 'month': {
      const at = new Date(atMs);
      const year = at.getUTCFullYear();
      const month = at.getUTCMonth();
      return { start: Date.UTC(year, month), end: Date.UTC(year, month + 1) };
    }
    case 'total':
      return { start: 0, end: Number.POSITIVE_INFINITY };
  }
}
