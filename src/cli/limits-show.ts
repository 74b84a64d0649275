// `keygate limits`: how full the pools are.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { Io } from './io.ts';
import { amount, poolCells, resetsIn } from './limits-pools.ts';
import { projectOption } from './options.ts';
import { printJson, printTable } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer } from './server.ts';

interface Options {
  readonly project?: string;
  readonly model?: string;
  readonly key?: string;
  readonly endUser?: string;
  readonly all?: true;
  readonly json?: true;
}

const Pool = z.looseObject({
  scope: z.string(),
  subject_id: z.string(),
  cover: z.string(),
  name: z.string(),
  dimension: z.string(),
  limit: z.number(),
  used: z.number().nullable(),
  remaining: z.number().nullable(),
  reset_ms: z.number().nullable(),
});

const Levels = z.looseObject({
  data: z.array(Pool),
  has_more: z.boolean(),
  tier: z.string(),
  state: z.enum(['known', 'unknown']),
});

export function addLimitsShow(limits: Command, io: Io): void {
  limits
    .command('show', { isDefault: true })
    .description('show how full the limits are (the default)')
    .addOption(projectOption().default(undefined, 'only what the organization has'))
    .option('-m, --model <model>', 'only what calls to this model draw on')
    .option('-k, --key <id>', 'and what this key has, key_…; in --project, or the only project')
    .option('--end-user <name>', 'and what this end user of the project has')
    .option('-a, --all', 'those that nothing was taken from, too (of one model they are always shown)')
    .addOption(new Option('--json', 'print the list as JSON'))
    .action(async (options: Options) => {
      const server = adminServer(io);
      const query = new URLSearchParams();
      const needed = options.key !== undefined || options.endUser !== undefined;
      if (options.project !== undefined || needed) {
        query.set('project_id', (await findProject(server, options.project)).id);
      }
      if (options.model !== undefined) query.set('model', options.model);
      if (options.key !== undefined) query.set('api_key_id', options.key);
      if (options.endUser !== undefined) query.set('end_user', options.endUser);
      const inUse = !options.all && options.model === undefined;
      if (inUse) query.set('in_use', 'true');
      const levels = await server.get(`/v1/keygate/limits?${query}`, Levels);
      if (options.json) return printJson(io, levels);
      if (levels.state === 'unknown') {
        io.err('The Redis server that keeps the limits does not answer: how full they are is not known.\n');
      }
      if (levels.data.length === 0) {
        io.out(
          inUse
            ? 'Nothing is taken from any limit at the moment: --all shows them.\n'
            : 'No limit applies to these calls.\n',
        );
      } else {
        printTable(
          io,
          ['WHOSE', 'POOL', 'COUNTS', 'LIMIT', 'USED', 'REMAINING', 'RESETS IN'],
          levels.data.map((pool) => [
            ...poolCells(pool),
            amount(pool.limit),
            amount(pool.used),
            amount(pool.remaining),
            resetsIn(pool.reset_ms, pool.used),
          ]),
        );
      }
      if (levels.has_more) io.err('There are more: name a --model.\n');
      io.out(`The organization is in the usage tier ${levels.tier}.\n`);
    });
}
