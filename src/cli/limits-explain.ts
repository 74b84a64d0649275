// `keygate limits explain`: which pools a call touched, and which one refused it.

import type { Command } from 'commander';
import { z } from 'zod';
import { goDuration } from '../limits/duration.ts';
import type { Io } from './io.ts';
import { amount, poolCells } from './limits-pools.ts';
import { printFields, printJson, printTable } from './print.ts';
import { adminServer } from './server.ts';

const Explanation = z.looseObject({
  request_id: z.string(),
  at: z.number(),
  model: z.string().nullable(),
  outcome: z.enum(['admitted', 'limit', 'too_large', 'unavailable']),
  retry_after_ms: z.number().nullable(),
  pools: z.array(
    z.looseObject({
      scope: z.string(),
      subject_id: z.string(),
      cover: z.string(),
      name: z.string(),
      dimension: z.string(),
      limit: z.number(),
      requested: z.number(),
      refused: z.boolean(),
      used: z.number().nullable(),
    }),
  ),
});

const OUTCOMES = {
  admitted: 'admitted',
  limit: 'refused: a limit had no room',
  too_large: 'refused: larger than a whole limit, so waiting does not help',
  unavailable: 'refused: the limits could not be checked',
} as const;

export function addLimitsExplain(limits: Command, io: Io): void {
  limits
    .command('explain')
    .description('tell which limits a recent call touched, and which one refused it')
    .argument('<request-id>', 'the x-request-id of its reply, req_…')
    .option('--json', 'print the object as JSON')
    .addHelpText(
      'after',
      '\nEach server keeps the verdicts on its own last 8,192 calls, until it is restarted: ask the one that answered.',
    )
    .action(async (id: string, options: { json?: true }) => {
      const path = `/v1/keygate/limits/explain/${encodeURIComponent(id)}`;
      const found = await adminServer(io).get(path, Explanation);
      if (options.json) return printJson(io, found);
      const fields: [string, string][] = [
        ['Request', found.request_id],
        ['At', new Date(found.at).toISOString()],
        ['Model', found.model ?? 'none'],
        ['Verdict', OUTCOMES[found.outcome]],
      ];
      if (found.retry_after_ms !== null && found.outcome !== 'admitted') {
        fields.push(['Told to wait', goDuration(Math.ceil(found.retry_after_ms))]);
      }
      printFields(io, fields);
      if (found.pools.length === 0) return;
      io.out('\n');
      printTable(
        io,
        ['WHOSE', 'POOL', 'COUNTS', 'LIMIT', 'ASKED', 'USED BEFORE', ''],
        found.pools.map((pool) => [
          ...poolCells(pool),
          amount(pool.limit),
          amount(pool.requested),
          pool.used === null ? '' : amount(pool.used),
          pool.refused ? 'no room' : '',
        ]),
      );
    });
}
