// The log: one JSON object a line on standard error, for people with `jq` and for collectors. It is for what happens
// to the server, not for calls (those are in the usage records and the metrics), so it needs no library: what must be
// right is that nothing secret is in it, and that is decided where an error is described, here.

import type { Clock } from './clock.ts';

export type LogLevel = 'fatal' | 'error' | 'warn' | 'info' | 'debug';

export interface Log {
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  /** @param part which part of the server met the error */
  error(part: string, error: unknown, fields?: Readonly<Record<string, unknown>>): void;
}

const RANK: Readonly<Record<LogLevel, number>> = { fatal: 0, error: 1, warn: 2, info: 3, debug: 4 };
const STACK_LINES = 8;

/** Anything that has the form of a key, ours or a provider's: what should never be in a message, and is struck out. */
const SECRETS = /\b(?:sk|rk|pk)-[A-Za-z0-9_-]{8,}|\bBearer\s+\S+|(?<=:\/\/[^\s/@:]*:)[^\s/@]+(?=@)/g;

export function jsonLog(level: LogLevel, clock: Clock, write: (line: string) => void): Log {
  const most = RANK[level];
  const line = (rank: LogLevel, message: string, fields: Readonly<Record<string, unknown>> = {}): void => {
    if (RANK[rank] > most) return;
    const entry = { time: new Date(clock.now()).toISOString(), level: rank, message, ...fields };
    write(`${JSON.stringify(entry).replace(SECRETS, '[redacted]')}\n`);
  };
  return {
    info: (message, fields) => line('info', message, fields),
    warn: (message, fields) => line('warn', message, fields),
    error: (part, error, fields) => line('error', part, { ...described(error), ...fields }),
  };
}

/** An error's name, message, code and the top of its stack; never the values that it was about. */
function described(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) return { error: typeof error };
  const stack = error.stack
    ?.split('\n')
    .slice(1, 1 + STACK_LINES)
    .map((frame) => frame.trim());
  return {
    error: `${error.name}: ${error.message}`,
    ...('code' in error && typeof error.code === 'string' ? { code: error.code } : {}),
    ...(stack === undefined ? {} : { stack }),
  };
}
