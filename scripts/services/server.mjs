// Starts a server for one run: on a free port, in a folder of its own, and gone when this process is.

import { spawn } from 'node:child_process';
import { chownSync, mkdtempSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { lastLines, readIfThere } from './files.mjs';

const START_MS = 60_000;
const PROBE_MS = 2_000;

/** What is wrong, in a sentence for whoever ran the command. */
export class Unavailable extends Error {}

const started = [];

/** Stops every server that was started, and waits until they and their folders are gone. */
export async function stopServers() {
  await Promise.all(started.map((server) => server.stop()));
}

/**
 * Starts `commandFor(port)` on a free port and gives the port when `answers(port)`. When the standard input of the
 * shell ends, which it does at the latest when this process ends, the shell sends the server `signal`, which tells it
 * to stop at once, and removes its folder.
 */
export async function startServer(place, { name, signal, answers }, commandFor) {
  const script = `folder=$1; signal=$2; shift 2
    "$@" </dev/null >"$folder/log" 2>&1 &
    server=$!
    exec 3>&- >/dev/null 2>&1
    cat >/dev/null
    kill -$signal $server
    ( sleep 5; kill -KILL $server ) & late=$!
    wait $server
    kill $late
    rm -rf "$folder"`;
  for (let attempt = 1; ; attempt++) {
    const port = await freePort();
    const shell = spawn('/bin/sh', ['-c', script, 'sh', place.path, signal, ...commandFor(port)], {
      ...place.identity,
      cwd: place.path,
      env: bareEnvironment(),
      // Its own session: Ctrl-C is for the command, which may still need its servers.
      detached: true,
      stdio: ['pipe', 'ignore', 'inherit', 'pipe'],
    });
    const ended = new Promise((resolve) => shell.once('exit', resolve));
    // Only the server holds the other end of this pipe.
    let running = true;
    shell.stdio[3].resume().once('close', () => {
      running = false;
    });
    shell.stdin.on('error', () => {});
    const stop = async () => {
      shell.stdin.end();
      await ended;
    };
    const deadline = Date.now() + START_MS;
    while (running && Date.now() < deadline) {
      if (await answers(port)) {
        started.push({ stop });
        return port;
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    const log = lastLines(readIfThere(place.file('log')));
    // Somebody else may have taken the port meanwhile.
    if (attempt === 3 || !/in use/i.test(log)) {
      await stop();
      throw new Unavailable(`${name} did not start: ${log || 'it said nothing'}`);
    }
    console.error(`services: ${name} could not have port ${port}; trying another`);
    shell.kill('SIGKILL');
    shell.stdin.end();
  }
}

/** A new folder for one server, of the user that the server runs as: this one, or an unprivileged one for root. */
export function privateFolder(name) {
  const path = mkdtempSync(join(tmpdir(), `keygate-${name}-`));
  const identity = process.getuid?.() === 0 ? unprivileged() : {};
  const own = (file) => {
    if ('uid' in identity) chownSync(file, identity.uid, identity.gid);
  };
  own(path);
  const file = (part) => join(path, part);
  return { path, identity, file, own: (part) => own(file(part)) };
}

function unprivileged() {
  const users = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'));
  for (const name of ['postgres', 'redis', 'nobody']) {
    const user = users.find((fields) => fields[0] === name);
    if (user) return { uid: Number(user[2]), gid: Number(user[3]) };
  }
  throw new Unavailable(
    'PostgreSQL does not run as root, and this machine has no user "nobody" to run it as.',
  );
}

/** The servers need no setting of ours, and some would change them (PGPORT, LC_ALL). */
export function bareEnvironment() {
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', TZ: 'UTC' };
}

function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Sends `words` to a port of this machine and gives what `read` makes of the reply; null if nothing comes of it. */
export function converse(port, words, read) {
  return new Promise((resolve) => {
    let reply = Buffer.alloc(0);
    const socket = connect(port, '127.0.0.1', () => socket.write(words));
    const end = (value) => {
      socket.destroy();
      resolve(value);
    };
    socket.setTimeout(PROBE_MS, () => end(null));
    socket.on('error', () => end(null));
    socket.on('close', () => end(null));
    socket.on('data', (bytes) => {
      reply = Buffer.concat([reply, bytes]);
      const value = read(reply);
      if (value !== undefined) end(value);
    });
  });
}
