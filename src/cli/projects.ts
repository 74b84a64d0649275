// `keygate projects create|list|update`, and how a command finds the project that it is about.

import { type Command, Option } from 'commander';
import { z } from 'zod';
import { ENVIRONMENTS } from '../keys/model.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { limitOption } from './options.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { adminServer, type Server } from './server.ts';

const Project = z.looseObject({
  id: z.string(),
  name: z.string(),
  status: z.enum(['active', 'archived']),
  environment: z.string().optional(),
  created_at: z.number(),
});

export type Project = z.infer<typeof Project>;

/** keygate's own form of a project, which says what it is for. */
const PROJECTS = '/v1/keygate/projects';
const MOST_LOOKED_THROUGH = 10_000;

export function addProjects(program: Command, io: Io): void {
  const projects = program.command('projects').description('projects: what keys, limits and usage belong to');

  projects
    .command('create')
    .description('make a project')
    .argument('<name>', 'what people call it')
    .addOption(environmentOption('what it is for (default: production)'))
    .option('--json', 'print the object as JSON')
    .addHelpText(
      'after',
      `
Examples:
  keygate projects create "Search team"
  keygate projects create "Search team, trying out" --environment development`,
    )
    .action(async (name: string, options: Options) => {
      const { environment } = options;
      const body = { name, ...(environment !== undefined && { environment }) };
      show(io, await adminServer(io).post(PROJECTS, body, Project), options);
    });

  projects
    .command('update')
    .description('rename a project, or say what it is for')
    .argument('<project>', 'its id or name')
    .option('--name <name>', 'what people shall call it')
    .addOption(environmentOption('what it is for'))
    .option('--json', 'print the object as JSON')
    .addHelpText('after', '\nExample:\n  keygate projects update "Search team" --environment staging')
    .action(async (wanted: string, options: Options) => {
      const { name, environment } = options;
      if (name === undefined && environment === undefined)
        throw new CommandError(EXIT.usage, 'Say what to change: --name or --environment.');
      const server = adminServer(io);
      const { id } = await findProject(server, wanted);
      const body = { ...(name !== undefined && { name }), ...(environment !== undefined && { environment }) };
      show(io, await server.post(`${PROJECTS}/${encodeURIComponent(id)}`, body, Project), options);
    });

  projects
    .command('list')
    .description('list projects, oldest first')
    .option('--archived', 'archived ones too')
    .addOption(limitOption())
    .option('--json', 'print the list as JSON')
    .action(async (options: { archived?: true; limit: number; json?: true }) => {
      const path = options.archived ? `${PROJECTS}?include_archived=true` : PROJECTS;
      const list = await adminServer(io).list(path, Project, options.limit);
      if (options.json) return printJson(io, { object: 'list', ...list });
      printTable(
        io,
        ['ID', 'NAME', 'ENVIRONMENT', 'STATUS', 'CREATED'],
        list.data.map(({ id, name, environment, status, created_at }) => [
          id,
          name,
          environment ?? '',
          status,
          when(created_at, ''),
        ]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });
}

interface Options {
  readonly name?: string;
  readonly environment?: string;
  readonly json?: true;
}

function environmentOption(description: string): Option {
  return new Option('--environment <environment>', description).choices(ENVIRONMENTS);
}

function show(io: Io, project: Project, options: Options): void {
  if (options.json) return printJson(io, project);
  printFields(io, [
    ['Project', project.name],
    ['Id', project.id],
    ['Environment', project.environment ?? ''],
  ]);
}

/** The active projects. */
export async function listProjects(server: Server): Promise<readonly Project[]> {
  return (await server.list(PROJECTS, Project, MOST_LOOKED_THROUGH)).data;
}

/** The project with this id or name; without either, the only one there is. */
export async function findProject(server: Server, wanted: string | undefined): Promise<Project> {
  const data = await listProjects(server);
  const byId = data.find(({ id }) => id === wanted);
  if (byId) return byId;
  const [first, ...others] = wanted === undefined ? data : data.filter(({ name }) => name === wanted);
  if (first && others.length === 0) return first;
  const some = (projects: readonly Project[]): string =>
    projects
      .slice(0, 10)
      .map(({ id, name }) => `${id} (${name})`)
      .join(', ');
  if (first) {
    const which =
      wanted === undefined
        ? 'There are several projects: name one with --project'
        : `Several projects are called "${wanted}": name one by its id`;
    throw new CommandError(EXIT.usage, `${which}: ${some([first, ...others])}.`);
  }
  throw new CommandError(
    EXIT.refused,
    wanted === undefined
      ? 'There is no active project: make one with `keygate projects create NAME`.'
      : `There is no active project "${wanted}": \`keygate projects list\` shows those that are.`,
  );
}
