// Options that several commands share, and how their values are read.

import { InvalidArgumentError, Option } from 'commander';
import { formatDuration, parseDuration } from '../config/units.ts';

const MOST_LISTED = 100_000;
const SHORTEST_MS = 1000;
const LONGEST_MS = 365 * 86_400_000;

export function limitOption(): Option {
  return new Option('--limit <n>', 'how many to list at most').default(100).argParser((text) => {
    const limit = /^\d{1,6}$/.test(text) ? Number(text) : 0;
    if (limit < 1 || limit > MOST_LISTED)
      throw new InvalidArgumentError(`It must be from 1 to ${MOST_LISTED}.`);
    return limit;
  });
}

export function projectOption(): Option {
  return new Option('-p, --project <id|name>', 'the project (default: the only one)');
}

/** `90d` → seconds. */
export function expiresOption(): Option {
  return new Option('--expires <time>', 'how long it works, such as 12h or 90d, at most 365d').argParser(
    (text) => {
      const ms = parseDuration(text);
      if (ms === undefined || ms < SHORTEST_MS || ms > LONGEST_MS) {
        throw new InvalidArgumentError(
          `It must be a time from 1s to ${formatDuration(LONGEST_MS)}, such as 12h or 90d.`,
        );
      }
      return Math.floor(ms / 1000);
    },
  );
}

/** An option that may be given several times, or once with commas between. */
export function listOption(flags: string, description: string): Option {
  return new Option(flags, `${description} (repeatable)`).argParser<string[]>((text, before = []) => {
    const items = text.split(',').map((item) => item.trim());
    if (items.includes('')) throw new InvalidArgumentError('It must not be empty.');
    return [...before, ...items];
  });
}
