import type { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { addCommands } from '../../src/cli/commands.ts';
import { buildProgram } from '../../src/cli/program.ts';
import { parseKey } from '../../src/keys/format.ts';
import { expectGenerated } from '../config/generated.ts';
import { run } from './running.ts';

/** Every command with its path, groups before what is in them. */
function commands(of: Command, path: string[] = []): { path: string[]; command: Command }[] {
  return of.commands.flatMap((command) => {
    const here = [...path, command.name()];
    return [{ path: here, command }, ...commands(command, here)];
  });
}

const nothing = () => {};
const program = buildProgram(
  {
    out: nothing,
    err: nothing,
    env: {},
    cwd: '/',
    hostname: 'box',
    outIsTerminal: false,
    inIsTerminal: false,
    readInput: async () => '',
    readFile: () => '',
    onSignal: () => nothing,
    exitNow: nothing,
    now: () => 0,
    monotonic: () => 0,
  },
  () => Promise.reject(new Error('no server in this test')),
  addCommands,
);

describe('the help', () => {
  test('the documentation shows it as it is', async () => {
    const pages = await Promise.all(
      [[], ...commands(program).map(({ path }) => path)].map(async (path) => {
        const { out } = await run([...path, '--help']);
        return `## ${['keygate', ...path].join(' ')}\n\n\`\`\`text\n${out.trim()}\n\`\`\``;
      }),
    );
    expectGenerated('docs/cli.md', 'help', pages.join('\n\n'));
  });

  test('tells of every command and option what it is for', () => {
    for (const { path, command } of commands(program)) {
      expect(command.description(), path.join(' ')).not.toBe('');
      for (const option of command.options)
        expect(option.description, `${path.join(' ')} ${option.flags}`).not.toBe('');
    }
  });

  test('is no failure; no command at all is a mistake of usage and shows it', async () => {
    expect(await run(['--help'])).toMatchObject({ code: 0, err: '' });
    expect(await run(['help', 'keys'])).toMatchObject({ code: 0, err: '' });
    for (const args of [[], ['keys'], ['projects']]) {
      const { code, out, err } = await run(args);
      expect({ code, out }).toEqual({ code: 2, out: '' });
      expect(err).toContain('Usage: keygate');
    }
  });
});

describe('version', () => {
  test('is told by the command and by the option', async () => {
    expect((await run(['version'])).out).toMatch(/^keygate \d+\.\d+\.\d+ \(Node\.js \d+\.\d+\.\d+\)\n$/);
    expect((await run(['--version'])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(JSON.parse((await run(['version', '--json'])).out)).toMatchObject({ node: process.versions.node });
  });
});

describe('keys mint', () => {
  test.each([
    ['admin', 'admin'],
    ['project', 'project'],
    ['service-account', 'service_account'],
    ['test', 'test'],
  ])('--type %s makes a valid key offline and prints it alone', async (type, parsed) => {
    const { code, out, err } = await run(['keys', 'mint', '--type', type]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(parseKey(out.trimEnd())).toEqual({ ok: true, type: parsed });
    expect((await run(['keys', 'mint', '--type', type])).out).not.toBe(out);
  });

  test('an admin key is what it makes when nothing is said, and --json is for programs', async () => {
    const minted = JSON.parse((await run(['keys', 'mint', '--json'])).out);
    expect(minted.type).toBe('admin');
    expect(parseKey(minted.value)).toEqual({ ok: true, type: 'admin' });
  });
});
