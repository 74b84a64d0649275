// Sizes and times as people write them: `32MB`, `30s`. Sizes count in 1024s, as nginx and Node's own limits do.

const SIZE_UNITS: Readonly<Record<string, number>> = { '': 1, b: 1, kb: 1024, mb: 1024 ** 2, gb: 1024 ** 3 };

const TIME_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
};

/** `64KB`, `32 MB`, `1.5GiB` or plain bytes → whole bytes; undefined if it is not a size. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,3})?) ?(|[kmg]?b|[kmg]ib?|[kmg])$/i.exec(text.trim());
  if (!match) return undefined;
  const letter = (match[2] ?? '').toLowerCase().replace('i', '').replace('b', '');
  return whole(Number(match[1]) * (SIZE_UNITS[letter === '' ? '' : `${letter}b`] ?? Number.NaN));
}

/** `250ms`, `30s`, `5m`, `1.5h` or `90d` → whole milliseconds; undefined if it is not a time with its unit. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,15}(?:\.\d{1,3})?) ?(ms|s|m|min|h|d)$/i.exec(text.trim());
  if (!match) return undefined;
  const unit = (match[2] ?? '').toLowerCase();
  return whole(Number(match[1]) * (TIME_UNITS[unit === 'min' ? 'm' : unit] ?? Number.NaN));
}

function whole(value: number): number | undefined {
  return Number.isSafeInteger(Math.round(value)) ? Math.round(value) : undefined;
}

/** Bytes in the largest unit that divides them: 33554432 → `32MB`. */
export function formatSize(bytes: number): string {
  for (const unit of ['GB', 'MB', 'KB']) {
    const factor = SIZE_UNITS[unit.toLowerCase()] ?? 1;
    if (bytes >= factor && bytes % factor === 0) return `${bytes / factor}${unit}`;
  }
  return `${bytes}B`;
}

/** Milliseconds in the largest unit that divides them: 600000 → `10m`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s';
  for (const unit of ['d', 'h', 'm', 's']) {
    const factor = TIME_UNITS[unit] ?? 1;
    if (ms >= factor && ms % factor === 0) return `${ms / factor}${unit}`;
  }
  return `${ms}ms`;
}
