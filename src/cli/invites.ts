// `keygate invites …`: asking people into the organization, and accepting. The token of an invitation is shown once.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import type { Io } from './io.ts';
import { limitOption, listOption } from './options.ts';
import { Done, User } from './people.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer, openServer } from './server.ts';
import { projectRoleOf } from './users.ts';

const INVITES = '/v1/organization/invites';
const OURS = '/v1/keygate/invites';

const Invite = z.looseObject({
  id: z.string(),
  email: z.string(),
  role: z.string(),
  status: z.string(),
  expires_at: z.number().nullish(),
});
const Invited = Invite.extend({ token: z.string() });
const Accepted = z.looseObject({
  user: User,
  admin_api_key: z.looseObject({ id: z.string(), value: z.string() }).nullish(),
});

function show(io: Io, invite: z.infer<typeof Invited>): void {
  printFields(io, [
    ['Invite', invite.id],
    ['Email', invite.email],
    ['Role', invite.role],
    ['Expires', when(invite.expires_at, 'never')],
  ]);
  io.out(`\nWhoever is invited accepts with:\n\n  keygate invites accept ${invite.token}\n\n`);
  io.out('Copy it now: it is not shown again. `keygate invites renew` makes another.\n');
}

export function addInvites(program: Command, io: Io): void {
  const invites = program.command('invites').description('invitations: people who are asked in');

  invites
    .command('create')
    .description('invite somebody, and show the token that accepts it, once')
    .argument('<email>', 'the address of whoever is invited')
    .addOption(
      new Option('--role <role>', 'in the organization').choices(['owner', 'reader']).default('reader'),
    )
    .addOption(
      listOption(
        '--project <id|name[=role]>',
        'a project, as its member or owner (default: the default project)',
      ),
    )
    .option('--json', 'print the object as JSON')
    .addHelpText(
      'after',
      `
Examples:
  keygate invites create ada@example.com
  keygate invites create ada@example.com --project "Search team=owner" --project Reports`,
    )
    .action(async (email: string, options: { role: string; project?: string[]; json?: true }) => {
      const server = adminServer(io);
      const projects: { id: string; role: string }[] = [];
      for (const text of options.project ?? []) {
        const at = text.lastIndexOf('=');
        const [name, role] = at === -1 ? [text, 'member'] : [text.slice(0, at), text.slice(at + 1)];
        projects.push({ id: (await findProject(server, name)).id, role: projectRoleOf(role) });
      }
      const body = { email, role: options.role, ...(options.project && { projects }) };
      const invite = await server.post(OURS, body, Invited);
      if (options.json) return printJson(io, invite);
      show(io, invite);
    });

  invites
    .command('list')
    .description('list invitations, oldest first')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: { limit: number; json?: true }) => {
      const list = await adminServer(io).list(INVITES, Invite, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'EMAIL', 'ROLE', 'STATUS', 'EXPIRES'],
        list.data.map((one) => [one.id, one.email, one.role, one.status, when(one.expires_at, '')]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });

  invites
    .command('renew')
    .description('make a new token for an invitation, for seven days; the one before is void')
    .argument('<id>', "the invitation's id")
    .option('--json', 'print the object as JSON')
    .action(async (id: string, options: { json?: true }) => {
      const invite = await adminServer(io).post(`${OURS}/${encodeURIComponent(id)}/token`, {}, Invited);
      if (options.json) return printJson(io, invite);
      show(io, invite);
    });

  invites
    .command('delete')
    .description('delete an invitation: its token works no longer')
    .argument('<id>', "the invitation's id")
    .action(async (id: string) => {
      await adminServer(io).delete(`${INVITES}/${encodeURIComponent(id)}`, Done);
      io.out(`Deleted ${id}.\n`);
    });

  invites
    .command('accept')
    .description('accept an invitation with its token; no key is needed')
    .argument('<token>', 'kgi_…')
    .option('--name <name>', 'what people call you (default: your address)')
    .option('--admin-key', 'make an admin key too, which does what your roles allow, and show it once')
    .option('--json', 'print the object as JSON')
    .action(async (token: string, options: { name?: string; adminKey?: true; json?: true }) => {
      const body = {
        token,
        ...(options.name !== undefined && { name: options.name }),
        ...(options.adminKey && { admin_key: true }),
      };
      const accepted = await openServer(io).post(`${OURS}/accept`, body, Accepted);
      if (options.json) return printJson(io, accepted);
      io.out(`Welcome, ${accepted.user.name ?? accepted.user.id}.\n`);
      const key = accepted.admin_api_key;
      if (key) io.out(`\n  export KEYGATE_ADMIN_KEY=${key.value}\n\nCopy it now: it is not shown again.\n`);
    });
}
