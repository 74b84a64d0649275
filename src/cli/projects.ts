// `keygate projects create|list`, and how a command finds the project that it is about.

import type { Command } from 'commander';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { limitOption } from './options.ts';
import { printFields, printJson, printTable, when } from './print.ts';
import { adminServer, type Server } from './server.ts';

const Project = z.looseObject({
  id: z.string(),
  name: z.string(),
  status: z.enum(['active', 'archived']),
  created_at: z.number(),
});

export type Project = z.infer<typeof Project>;

const PROJECTS = '/v1/organization/projects';
const MOST_LOOKED_THROUGH = 10_000;

export function addProjects(program: Command, io: Io): void {
  const projects = program.command('projects').description('projects: what keys, limits and usage belong to');

  projects
    .command('create')
    .description('make a project')
    .argument('<name>', 'what people call it')
    .option('--json', 'print the object as JSON')
    .addHelpText('after', '\nExample:\n  keygate projects create "Search team"')
    .action(async (name: string, options: { json?: true }) => {
      const project = await adminServer(io).post(PROJECTS, { name }, Project);
      if (options.json) return printJson(io, project);
      printFields(io, [
        ['Project', project.name],
        ['Id', project.id],
      ]);
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
        ['ID', 'NAME', 'STATUS', 'CREATED'],
        list.data.map(({ id, name, status, created_at }) => [id, name, status, when(created_at, '')]),
      );
      if (list.has_more) io.err(`Only the first ${options.limit} are shown: --limit shows more.\n`);
    });
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
