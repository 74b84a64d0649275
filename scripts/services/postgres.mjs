// A PostgreSQL for the tests.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { isProgram, lastLines, listing } from './files.mjs';
import { bareEnvironment, converse, privateFolder, startServer, Unavailable } from './server.mjs';

const SETTINGS = [
  'fsync=off',
  'full_page_writes=off',
  'max_connections=200',
  'shared_buffers=64MB',
  'log_min_messages=fatal',
];

export const postgres = {
  name: 'PostgreSQL',
  variable: 'KEYGATE_TEST_DATABASE_URL',
  packages: ['postgresql'],

  async find() {
    return process.env[this.variable] || (await this.startPrivate()) || (await this.findRunning());
  },

  async startPrivate() {
    const folder = postgresFolder();
    if (folder === null) return null;
    const password = randomBytes(16).toString('hex');
    const place = privateFolder('postgres');
    const data = join(place.path, 'data');
    writeFileSync(place.file('password'), `${password}\n`, { mode: 0o600 });
    place.own('password');
    const choices = `-U postgres -A scram-sha-256 --pwfile=${place.file('password')} -E UTF8 --locale=C --no-sync`;
    const made = spawnSync(join(folder, 'initdb'), ['-D', data, ...choices.split(' ')], {
      ...place.identity,
      cwd: place.path,
      env: bareEnvironment(),
      encoding: 'utf8',
    });
    if (made.status !== 0)
      throw new Unavailable(`initdb failed: ${lastLines(made.stderr || String(made.error))}`);
    const port = await startServer(
      place,
      { name: this.name, signal: 'QUIT', answers: postgresAnswers },
      (port) => [
        join(folder, 'postgres'),
        ...['-D', data, '-p', String(port), '-h', '127.0.0.1', '-k', ''],
        ...SETTINGS.flatMap((setting) => ['-c', setting]),
      ],
    );
    return `postgres://postgres:${password}@127.0.0.1:${port}/postgres`;
  },

  async findRunning() {
    for (const user of ['postgres', 'root']) {
      if ((await askPostgres(5432, user)) === 'ready') return `postgres://${user}@127.0.0.1:5432/postgres`;
    }
    return null;
  },
};

/** The newest server on this machine, where Debian, Red Hat, Homebrew or the PATH have it. */
function postgresFolder() {
  const candidates = [];
  for (const parent of ['/usr/lib/postgresql', '/usr/pgsql', '/opt/homebrew/opt', '/usr/local/opt']) {
    for (const name of listing(parent)) {
      const version = /^(?:postgresql@)?(\d+)$/.exec(name)?.[1];
      if (version) candidates.push([Number(version), join(parent, name, 'bin')]);
    }
  }
  candidates.sort(([a], [b]) => b - a);
  const folders = [...candidates.map(([, folder]) => folder), ...(process.env.PATH ?? '').split(delimiter)];
  return (
    folders.find((folder) => isProgram(join(folder, 'postgres')) && isProgram(join(folder, 'initdb'))) ?? null
  );
}

/**
 * Begins a session (https://www.postgresql.org/docs/current/protocol-message-formats.html) and tells how far it got:
 * `ready` without a password, `answers` (it wants a password, or refuses), or null.
 */
function askPostgres(port, user) {
  const text = Buffer.from(`user\0${user}\0database\0postgres\0\0`);
  const start = Buffer.alloc(8);
  start.writeInt32BE(8 + text.length, 0);
  start.writeInt32BE(3 << 16, 4);
  return converse(port, Buffer.concat([start, text]), (reply) => {
    if (reply.length < 9) return undefined;
    const kind = String.fromCharCode(reply[0]);
    // AuthenticationOk is R with 0; the server is ready when Z follows. While it starts up it sends an error.
    if (kind === 'E') return reply.includes('57P03') ? null : 'answers';
    if (kind !== 'R' || reply.readInt32BE(5) !== 0) return 'answers';
    return endsReady(reply) ? 'ready' : undefined;
  });
}

function endsReady(reply) {
  for (let at = 0; at + 5 <= reply.length; at += 1 + reply.readInt32BE(at + 1)) {
    const kind = String.fromCharCode(reply[at]);
    if (kind === 'Z') return true;
    if (kind === 'E') return false;
  }
  return false;
}

const postgresAnswers = async (port) => (await askPostgres(port, 'postgres')) !== null;
