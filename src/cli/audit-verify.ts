// `keygate audit verify`: whether the audit log is whole. The chain is checked here, from the server's export or from a
// file, so that neither the server nor its database has to be believed; heads that were kept elsewhere show a log that
// was rewritten as a whole.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import { ChainCheck, GENESIS, parseHead, showHead } from '../audit/check.ts';
import type { ChainHead } from '../audit/model.ts';
import { chainRow } from './audit-entries.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { listOption } from './options.ts';
import { printJson } from './print.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly file?: string;
  readonly anchor?: string[];
  readonly anchorFile?: string;
  readonly json?: true;
}

const Place = z.object({ seq: z.int(), hash: z.string() });
export const Heads = z.looseObject({ head: Place, base: Place });

export function addAuditVerify(audit: Command, io: Io): void {
  audit
    .command('verify')
    .description('check that no entry of the audit log was altered, removed or added')
    .option('--file <path>', 'an export instead of the server; no server is asked')
    .addOption(
      listOption('--anchor <seq:hash>', 'a head that was kept elsewhere, as `audit head` printed it'),
    )
    .option('--anchor-file <path>', 'a file of such heads, one a line')
    .addOption(new Option('--json', 'print the result as JSON'))
    .action(async (options: Options) => {
      const anchors = anchorsOf(io, options);
      const check =
        options.file === undefined ? await ofServer(io, anchors) : ofFile(io, options.file, anchors);
      const verdict = check.end();
      if (options.json) printJson(io, verdict);
      if (!verdict.ok) {
        throw new CommandError(
          EXIT.refused,
          `The audit log is not whole: ${verdict.problem} ${verdict.entries} entries before it are in order.`,
        );
      }
      if (options.json) return;
      const since =
        verdict.base.seq === 0 ? '' : ` after entry ${verdict.base.seq}, where retention cut it off`;
      io.out(
        `The audit log is whole: ${verdict.entries} entries${since}.\nIts head, to be kept elsewhere: ${showHead(verdict.head)}\n`,
      );
    });
}

function anchorsOf(io: Io, { anchor = [], anchorFile }: Options): ChainHead[] {
  const lines = anchorFile === undefined ? [] : readLines(io, anchorFile);
  return [...anchor, ...lines].map((text) => {
    const head = parseHead(text);
    if (head !== null) return head;
    throw new CommandError(
      EXIT.usage,
      'An anchor is the number of an entry, a colon and its hash, as `keygate audit head` prints it.',
    );
  });
}

async function ofServer(io: Io, anchors: readonly ChainHead[]): Promise<ChainCheck> {
  const server = adminServer(io);
  const { head, base } = await server.get('/v1/keygate/audit_logs/head', Heads);
  const check = new ChainCheck(base, [head, ...anchors]);
  for await (const line of server.lines(`/v1/keygate/audit_logs/export?after_seq=${base.seq}`)) {
    if (!check.take(chainRow(line, 'A line of the server’s export'))) break;
  }
  return check;
}

/** An export that does not begin with the first entry begins with its base, which it must say itself. */
function ofFile(io: Io, path: string, anchors: readonly ChainHead[]): ChainCheck {
  const rows = readLines(io, path).map((line, at) => chainRow(line, `Line ${at + 1} of ${path}`));
  const [first] = rows;
  const base =
    first === undefined || first.seq === 1 ? GENESIS : { seq: first.seq - 1, hash: first.previous_hash };
  const check = new ChainCheck(base, anchors);
  for (const row of rows) if (!check.take(row)) break;
  return check;
}

export function readLines(io: Io, path: string): string[] {
  try {
    return io
      .readFile(path)
      .split('\n')
      .filter((line) => line.trim() !== '');
  } catch {
    throw new CommandError(EXIT.usage, `The file ${path} cannot be read.`);
  }
}
