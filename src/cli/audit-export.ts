// `keygate audit export`: the audit log as JSON lines, from an entry or a time on; it goes on where a file ends.

import { type Command, InvalidArgumentError, Option } from 'commander';
import { chainRow } from './audit-entries.ts';
import { readLines } from './audit-verify.ts';
import type { Io } from './io.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly after?: number;
  readonly until?: number;
  readonly from?: number;
  readonly to?: number;
  readonly resume?: string;
}

export function addAuditExport(audit: Command, io: Io): void {
  audit
    .command('export')
    .description('print the audit log as JSON lines, the oldest first')
    .addOption(new Option('--after <seq>', 'only entries after this number').argParser(entryNumber))
    .addOption(new Option('--until <seq>', 'only entries up to this number').argParser(entryNumber))
    .addOption(
      new Option('--from <time>', 'only entries from this time on, such as 2026-11-01').argParser(time),
    )
    .addOption(new Option('--to <time>', 'only entries before this time').argParser(time))
    .addOption(
      new Option(
        '--resume <path>',
        'only what is after the last entry of this file (export … >> path)',
      ).conflicts('after'),
    )
    .action(async (options: Options) => {
      const query = new URLSearchParams();
      const after = options.resume === undefined ? options.after : lastOf(io, options.resume);
      if (after !== undefined) query.set('after_seq', String(after));
      if (options.until !== undefined) query.set('until_seq', String(options.until));
      if (options.from !== undefined) query.set('from', String(options.from));
      if (options.to !== undefined) query.set('to', String(options.to));
      for await (const line of adminServer(io).lines(`/v1/keygate/audit_logs/export?${query}`)) {
        io.out(`${line}\n`);
      }
    });
}

function lastOf(io: Io, path: string): number {
  const last = readLines(io, path).at(-1);
  return last === undefined ? 0 : chainRow(last, `The last line of ${path}`).seq;
}

function entryNumber(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw new InvalidArgumentError('It must be the number of an entry.');
  return Number(text);
}

/** A date, or a date with a time; without a zone it is UTC. In Unix seconds. */
function time(text: string): number {
  const ms = Date.parse(/[Tt ]/.test(text) && !/(Z|[+-]\d\d:?\d\d)$/i.test(text) ? `${text}Z` : text);
  if (!Number.isFinite(ms) || ms < 0)
    throw new InvalidArgumentError('It must be a time such as 2026-11-01 or 2026-11-01T12:00:00Z.');
  return Math.floor(ms / 1000);
}
