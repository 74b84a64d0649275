// `keygate groups …`: users and service accounts who are given roles and budgets together.

import type { Command } from 'commander';
import { z } from 'zod';
import type { Io } from './io.ts';
import { limitOption, projectOption } from './options.ts';
import { Done, findGroup, findUser, GROUPS, Group, inProject } from './people.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer, type Server } from './server.ts';

const Member = z.looseObject({ id: z.string(), name: z.string(), email: z.string().nullish() });

/** A user by its id or address; a service account by its id. */
async function memberId(server: Server, wanted: string): Promise<string> {
  return wanted.startsWith('svc_acct_') ? wanted : (await findUser(server, wanted)).id;
}

export function addGroups(program: Command, io: Io): void {
  const groups = program
    .command('groups')
    .description('groups: users who are given roles and budgets together')
    .addHelpText(
      'after',
      `
Examples:
  keygate groups create "Data science"
  keygate groups add "Data science" ada@example.com
  keygate groups join "Data science" --project "Search team" --role member`,
    );
  const path = (group: Group) => `${GROUPS}/${encodeURIComponent(group.id)}`;

  groups
    .command('create')
    .description('make a group')
    .argument('<name>', 'what people call it')
    .option('--json', 'print the object as JSON')
    .action(async (name: string, options: { json?: true }) => {
      const group = await adminServer(io).post(GROUPS, { name }, Group);
      if (options.json) return printJson(io, group);
      printFields(io, [
        ['Group', group.name],
        ['Id', group.id],
      ]);
    });

  groups
    .command('list')
    .description('list groups, oldest first')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: { limit: number; json?: true }) => {
      const list = await adminServer(io).list(GROUPS, Group, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'NAME', 'CREATED'],
        list.data.map(({ id, name, created_at }) => [id, name, when(created_at, '')]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });

  groups
    .command('members')
    .description('list who is in a group')
    .argument('<group>', 'its id or name')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (wanted: string, options: { limit: number; json?: true }) => {
      const server = adminServer(io);
      const list = await server.list(`${path(await findGroup(server, wanted))}/users`, Member, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'EMAIL', 'NAME'],
        list.data.map(({ id, email, name }) => [id, email ?? '', name]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });

  groups
    .command('add')
    .description('put a user or service account into a group')
    .argument('<group>', 'its id or name')
    .argument('<user>', "a user's id or address, or a service account's id")
    .action(async (wanted: string, who: string) => {
      const server = adminServer(io);
      const group = await findGroup(server, wanted);
      await server.post(`${path(group)}/users`, { user_id: await memberId(server, who) }, Done);
      io.out(`${who} is in ${group.name}.\n`);
    });

  groups
    .command('remove')
    .description('take a user or service account out of a group')
    .argument('<group>', 'its id or name')
    .argument('<user>', "a user's id or address, or a service account's id")
    .action(async (wanted: string, who: string) => {
      const server = adminServer(io);
      const group = await findGroup(server, wanted);
      await server.delete(`${path(group)}/users/${encodeURIComponent(await memberId(server, who))}`, Done);
      io.out(`${who} is out of ${group.name}.\n`);
    });

  groups
    .command('join')
    .description('give a group a role in a project')
    .argument('<group>', 'its id or name')
    .addOption(projectOption())
    .option('--role <role>', 'owner, member, viewer, or the id of a role of the project', 'member')
    .action(async (wanted: string, options: { project?: string; role: string }) => {
      const server = adminServer(io);
      const project = await findProject(server, options.project);
      const group = await findGroup(server, wanted);
      const body = { group_id: group.id, role: options.role };
      await server.post(`${inProject(project.id)}/groups`, body, Done);
      io.out(`${group.name} is in ${project.name}.\n`);
    });

  groups
    .command('leave')
    .description('take a group out of a project')
    .argument('<group>', 'its id or name')
    .addOption(projectOption())
    .action(async (wanted: string, options: { project?: string }) => {
      const server = adminServer(io);
      const project = await findProject(server, options.project);
      const group = await findGroup(server, wanted);
      await server.delete(`${inProject(project.id)}/groups/${encodeURIComponent(group.id)}`, Done);
      io.out(`${group.name} is out of ${project.name}.\n`);
    });

  groups
    .command('delete')
    .description('delete a group: its members lose the roles that they had by it')
    .argument('<group>', 'its id or name')
    .action(async (wanted: string) => {
      const server = adminServer(io);
      const group = await findGroup(server, wanted);
      await server.delete(path(group), Done);
      io.out(`Deleted ${group.name}.\n`);
    });
}
