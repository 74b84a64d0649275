// `keygate roles …`: what people may do. Of the organization, or with --project of a project.

import type { Command } from 'commander';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { listOption } from './options.ts';
import { Done, findGroup, findRole, findUser, MOST_LOOKED_THROUGH, Role, rolesOf } from './people.ts';
import { printFields, printJson, printTable } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer, type Server } from './server.ts';

interface Place {
  readonly project?: string;
}

interface Holder extends Place {
  readonly user?: string;
  readonly group?: string;
}

const IN_PROJECT = '-p, --project <id|name>';
const HELP = 'of this project (default: of the organization)';

async function placeOf(server: Server, { project }: Place): Promise<string | null> {
  return project === undefined ? null : (await findProject(server, project)).id;
}

/** Where the roles of a user or group are. */
async function held(server: Server, options: Holder, projectId: string | null): Promise<string> {
  if ((options.user === undefined) === (options.group === undefined)) {
    throw new CommandError(EXIT.usage, 'Say who: --user USER or --group GROUP.');
  }
  const who =
    options.user !== undefined
      ? `users/${encodeURIComponent((await findUser(server, options.user)).id)}`
      : `groups/${encodeURIComponent((await findGroup(server, options.group ?? '')).id)}`;
  return `${rolesOf(projectId)}/${who}/roles`;
}

export function addRoles(program: Command, io: Io): void {
  const roles = program
    .command('roles')
    .description('roles: what people may do, in the organization and in projects')
    .addHelpText(
      'after',
      `
Examples:
  keygate roles list --project "Search team"
  keygate roles create Reports --permission api.usage.read
  keygate roles assign Reports --user ada@example.com
  keygate roles assign viewer --group "Data science" --project "Search team"`,
    );

  roles
    .command('list')
    .description('list roles, the predefined ones first; with --user or --group those that it has')
    .option(IN_PROJECT, HELP)
    .option('--user <user>', 'of this user, by its id or address')
    .option('--group <group>', 'of this group, by its id or name')
    .option('--json', 'print the list as JSON')
    .action(async (options: Holder & { json?: true }) => {
      const server = adminServer(io);
      const projectId = await placeOf(server, options);
      const all = options.user === undefined && options.group === undefined;
      const path = all ? `${rolesOf(projectId)}/roles` : await held(server, options, projectId);
      const list = await server.list(path, Role, MOST_LOOKED_THROUGH);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'NAME', 'KIND', 'PERMISSIONS'],
        list.data.map((role) => [
          role.id,
          role.name,
          role.predefined_role ? 'predefined' : 'custom',
          role.permissions.length > 4 ? `${role.permissions.length} of them` : role.permissions.join(' '),
        ]),
      );
    });

  roles
    .command('create')
    .description('make a role')
    .argument('<name>', 'what people call it')
    .addOption(
      listOption('--permission <permission>', 'what it grants, such as api.files.read').makeOptionMandatory(),
    )
    .option('--description <text>', 'what it is for')
    .option(IN_PROJECT, HELP)
    .option('--json', 'print the object as JSON')
    .action(
      async (name: string, options: Place & { permission: string[]; description?: string; json?: true }) => {
        const server = adminServer(io);
        const { permission: permissions, description = null } = options;
        const path = `${rolesOf(await placeOf(server, options))}/roles`;
        const role = await server.post(path, { role_name: name, permissions, description }, Role);
        if (options.json) return printJson(io, role);
        printFields(io, [
          ['Role', role.name],
          ['Id', role.id],
          ['Permissions', role.permissions.join(' ')],
        ]);
      },
    );

  roles
    .command('delete')
    .description('delete a custom role: nobody has it any more')
    .argument('<role>', 'its id or name')
    .option(IN_PROJECT, HELP)
    .action(async (wanted: string, options: Place) => {
      const server = adminServer(io);
      const projectId = await placeOf(server, options);
      const role = await findRole(server, wanted, projectId);
      await server.delete(`${rolesOf(projectId)}/roles/${encodeURIComponent(role.id)}`, Done);
      io.out(`Deleted ${role.name}.\n`);
    });

  roles
    .command('assign')
    .description('give a role to a user or a group')
    .argument('<role>', 'its id or name')
    .option('--user <user>', 'to this user, by its id or address')
    .option('--group <group>', 'to this group, by its id or name')
    .option(IN_PROJECT, 'in this project (default: in the organization)')
    .action(async (wanted: string, options: Holder) => {
      const server = adminServer(io);
      const projectId = await placeOf(server, options);
      const path = await held(server, options, projectId);
      const role = await findRole(server, wanted, projectId);
      await server.post(path, { role_id: role.id }, Done);
      io.out(`${options.user ?? options.group} has the role ${role.name}.\n`);
    });

  roles
    .command('unassign')
    .description('take a role from a user or a group')
    .argument('<role>', 'its id or name')
    .option('--user <user>', 'from this user, by its id or address')
    .option('--group <group>', 'from this group, by its id or name')
    .option(IN_PROJECT, 'in this project (default: in the organization)')
    .action(async (wanted: string, options: Holder) => {
      const server = adminServer(io);
      const projectId = await placeOf(server, options);
      const path = await held(server, options, projectId);
      const role = await findRole(server, wanted, projectId);
      await server.delete(`${path}/${encodeURIComponent(role.id)}`, Done);
      io.out(`${options.user ?? options.group} has the role ${role.name} no longer.\n`);
    });
}
