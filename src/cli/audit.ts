// `keygate audit …`: the group, and its small commands: what happened lately, and the head of the chain.

import { type Command, Option } from 'commander';
import { showHead } from '../audit/check.ts';
import { AuditEntry } from './audit-entries.ts';
import { addAuditExport } from './audit-export.ts';
import { addAuditVerify, Heads } from './audit-verify.ts';
import type { Io } from './io.ts';
import { limitOption, listOption } from './options.ts';
import { printJson, printTable, when } from './print.ts';
import { adminServer } from './server.ts';

interface ListOptions {
  readonly type?: string[];
  readonly actor?: string[];
  readonly resource?: string[];
  readonly limit: number;
  readonly json?: true;
}

export function addAudit(program: Command, io: Io): void {
  const audit = program
    .command('audit')
    .description('the audit log: see it, check it, take it out')
    .addHelpText(
      'after',
      `
Examples:
  keygate audit list --type api_key.created --limit 20
  keygate audit head >> heads.txt                     keep the head elsewhere, from time to time
  keygate audit verify --anchor-file heads.txt
  keygate audit export > audit.jsonl
  keygate audit export --resume audit.jsonl >> audit.jsonl
  keygate audit verify --file audit.jsonl             without asking the server`,
    );
  audit
    .command('list')
    .description('what was changed lately, by whom, the newest first')
    .addOption(listOption('--type <type>', 'only entries of this type, such as project.created'))
    .addOption(listOption('--actor <id>', 'only what this user, service account or key did'))
    .addOption(listOption('--resource <id>', 'only what was done to this object'))
    .addOption(limitOption())
    .addOption(new Option('--json', 'print the list as JSON'))
    .action(async (options: ListOptions) => {
      const query = new URLSearchParams();
      for (const type of options.type ?? []) query.append('event_types[]', type);
      for (const actor of options.actor ?? []) query.append('actor_ids[]', actor);
      for (const resource of options.resource ?? []) query.append('resource_ids[]', resource);
      const path = `/v1/keygate/audit_logs${query.size === 0 ? '' : `?${query}`}`;
      const list = await adminServer(io).list(path, AuditEntry, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ENTRY', 'TIME', 'WHAT', 'OBJECT', 'BY', 'PROJECT'],
        list.data.map(({ seq, at, type, payload, actor, project_id }) => [
          String(seq),
          when(Math.floor(at / 1000), ''),
          type,
          text(payload['id']),
          byWhom(actor),
          project_id ?? '',
        ]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });
  audit
    .command('head')
    .description('print the newest entry’s number and hash, to be kept elsewhere')
    .action(async () => {
      const { head } = await adminServer(io).get('/v1/keygate/audit_logs/head', Heads);
      io.out(`${showHead(head)}\n`);
    });
  addAuditVerify(audit, io);
  addAuditExport(audit, io);
}

function byWhom(actor: Readonly<Record<string, unknown>>): string {
  const of = (value: unknown, name: string) =>
    typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
  const email = of(of(actor['session'], 'user'), 'email');
  return text(email ?? of(actor['api_key'], 'id') ?? actor['subject'] ?? actor['type']);
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : '';
}
