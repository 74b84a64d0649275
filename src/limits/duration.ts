// Durations as the published headers and messages print them: Go's time.Duration.String, in whole milliseconds.

/** `17ms`, `1s`, `18.642s`, `6m0s`, `1m26.4s`, `24h0m0s`; 0 is `0s`. */
export function goDuration(ms: number): string {
  if (ms <= 0) return '0s';
  if (ms < 1000) return `${ms}ms`;
  const rest = ms % 60_000;
  const minutes = (ms - rest) / 60_000;
  const seconds = `${rest / 1000}s`;
  if (minutes === 0) return seconds;
  if (minutes < 60) return `${minutes}m${seconds}`;
  return `${Math.floor(minutes / 60)}h${minutes % 60}m${seconds}`;
}
