// `keygate users …`: who belongs to the organization, and to its projects.

import { type Command, Option } from 'commander';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { limitOption, projectOption } from './options.ts';
import { Done, findUser, inProject, USERS, User } from './people.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { findProject } from './projects.ts';
import { adminServer } from './server.ts';

const roleOption = () => new Option('--role <role>', 'in the organization').choices(['owner', 'reader']);

export function addUsers(program: Command, io: Io): void {
  const users = program
    .command('users')
    .description('users: people of the organization, who own keys and have roles')
    .addHelpText(
      'after',
      `
Examples:
  keygate users add ada@example.com --name "Ada Lovelace"
  keygate users join ada@example.com --project "Search team" --role member
  keygate users leave ada@example.com --project "Search team"
  keygate users remove ada@example.com`,
    );

  users
    .command('list')
    .description('list users, oldest first')
    .option('-p, --project <id|name>', 'those with a role of their own in this project')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: { project?: string; limit: number; json?: true }) => {
      const server = adminServer(io);
      const path =
        options.project === undefined
          ? USERS
          : `${inProject((await findProject(server, options.project)).id)}/users`;
      const list = await server.list(path, User, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'EMAIL', 'NAME', 'ROLE', 'ADDED'],
        list.data.map((user) => [
          user.id,
          user.email ?? '',
          user.name ?? '',
          user.role ?? '',
          when(user.added_at, ''),
        ]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });

  users
    .command('add')
    .description('add a user, without an invitation')
    .argument('<email>', 'its address, by which it is known')
    .option('--name <name>', 'what people call it (default: the address)')
    .addOption(roleOption().default('reader'))
    .option('--json', 'print the object as JSON')
    .action(async (email: string, options: { name?: string; role: string; json?: true }) => {
      const body = { email, role: options.role, ...(options.name !== undefined && { name: options.name }) };
      const user = await adminServer(io).post('/v1/keygate/users', body, User);
      if (options.json) return printJson(io, user);
      printFields(io, [
        ['User', user.email ?? ''],
        ['Id', user.id],
        ['Role', user.role ?? ''],
      ]);
      if (user.role !== 'owner') io.err('It works in no project yet: `keygate users join` adds it to one.\n');
    });

  users
    .command('role')
    .description("change a user's role in the organization")
    .argument('<user>', 'its id or address')
    .addOption(roleOption().makeOptionMandatory())
    .option('--json', 'print the object as JSON')
    .action(async (wanted: string, options: { role: string; json?: true }) => {
      const server = adminServer(io);
      const { id } = await findUser(server, wanted);
      const user = await server.post(`${USERS}/${encodeURIComponent(id)}`, { role: options.role }, User);
      if (options.json) return printJson(io, user);
      io.out(`${user.email ?? user.id} is ${user.role} of the organization.\n`);
    });

  users
    .command('remove')
    .description('remove a user from the organization: its keys stop at once')
    .argument('<user>', 'its id or address')
    .action(async (wanted: string) => {
      const server = adminServer(io);
      const { id, email } = await findUser(server, wanted);
      await server.delete(`${USERS}/${encodeURIComponent(id)}`, Done);
      io.out(`Removed ${email ?? id}: its keys are revoked.\n`);
    });

  users
    .command('join')
    .description('add a user to a project, or change its role there')
    .argument('<user>', 'its id or address')
    .addOption(projectOption())
    .option('--role <role>', 'owner, member, viewer, or the id of a role of the project', 'member')
    .option('--json', 'print the object as JSON')
    .action(async (wanted: string, options: { project?: string; role: string; json?: true }) => {
      const server = adminServer(io);
      const project = await findProject(server, options.project);
      const { id } = await findUser(server, wanted);
      const path = `${inProject(project.id)}/users`;
      const { data } = await server.list(path, User, 100_000);
      const { role } = options;
      const user = data.some((one) => one.id === id)
        ? await server.post(`${path}/${encodeURIComponent(id)}`, { role }, User)
        : await server.post(path, { user_id: id, role }, User);
      if (options.json) return printJson(io, user);
      io.out(`${user.email ?? id} is ${user.role} in ${project.name}.\n`);
    });

  users
    .command('leave')
    .description('take a user out of a project: its keys there stop at once')
    .argument('<user>', 'its id or address')
    .addOption(projectOption())
    .action(async (wanted: string, options: { project?: string }) => {
      const server = adminServer(io);
      const project = await findProject(server, options.project);
      const { id, email, role } = await findUser(server, wanted);
      await server.delete(`${inProject(project.id)}/users/${encodeURIComponent(id)}`, Done);
      io.out(`${email ?? id} is out of ${project.name}.\n`);
      if (role === 'owner')
        io.err('It is an owner of the organization, and so works in every project still.\n');
    });
}

/** `owner` and `member` of a project, as invitations take them. */
export function projectRoleOf(text: string): 'owner' | 'member' {
  if (text === 'owner' || text === 'member') return text;
  throw new CommandError(
    EXIT.usage,
    'An invitation makes an owner or a member of a project: name one of these.',
  );
}
