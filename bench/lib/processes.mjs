// Processes under measurement: started on one core, watched through /proc, stopped by the ids we were given.
// All threads of a process share its CPU and memory figures; children are added, because nginx's work is done
// by a worker process and Node's may be too. Linux only.

import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

/** Clock ticks a second in /proc/PID/stat: 100 on every Linux that Node runs on (USER_HZ is part of the ABI). */
const TICKS_PER_SECOND = 100;

/** What still runs, so that a benchmark that fails half-way leaves nothing behind. */
const running = new Set();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(130));

/** A port of 127.0.0.1 that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.on('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

/** Waits until something listens on the port, or throws after `timeoutMs` or as soon as the process has ended. */
export async function listening(port, child, timeoutMs = 20_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    if (child.ended) throw new Error(`${child.name} ended before it listened on ${port}:\n${child.output()}`);
    const open = await new Promise((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.on('connect', () => socket.destroy()).on('error', () => resolve(false));
    });
    if (open) return;
    if (Date.now() > deadline)
      throw new Error(`${child.name} does not listen on ${port}:\n${child.output()}`);
    await delay(25);
  }
}

let precedence = [];

/**
 * From now on what starts comes before the other programs on its core, though it stays an ordinary program (a
 * real-time one would starve its own threads). Linux shares a core among sessions first, then among the programs of
 * one, so each gets a session, and both get the weight. Only root may.
 */
export function comeFirst() {
  const weigh = 'echo -15 > /proc/self/autogroup 2> /dev/null; exec nice -n -15 "$@"';
  precedence = ['setsid', 'sh', '-c', weigh, 'sh'];
}

/** The words before a command that give it its core, and all of its threads and children with it. */
export function pinned(core) {
  return [...precedence, 'taskset', '-c', String(core)];
}

/**
 * Starts a program pinned to one core (all of its threads and children with it).
 * The last 64 KB of what it says is kept for error messages.
 */
export function start(name, command, args, { core, env = {}, cwd }) {
  const words = [...pinned(core), command, ...args];
  const started = spawn(words[0], words.slice(1), {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(started);
  let said = '';
  const keep = (chunk) => {
    said = (said + chunk.toString('utf8')).slice(-65_536);
  };
  started.stdout.on('data', keep);
  started.stderr.on('data', keep);
  const child = { name, pid: started.pid, ended: false, output: () => said };
  const gone = new Promise((resolve) => {
    started.on('error', (error) => {
      keep(Buffer.from(String(error)));
      child.ended = true;
      resolve();
    });
    started.on('exit', () => {
      running.delete(started);
      child.ended = true;
      resolve();
    });
  });
  /** Asks it to stop, and makes it stop after five seconds. */
  child.stop = async () => {
    if (child.ended) return;
    started.kill('SIGTERM');
    await Promise.race([gone, delay(5_000, undefined, { ref: false })]);
    if (!child.ended) started.kill('SIGKILL');
    await gone;
  };
  return child;
}

/** The process and all of its descendants, read from /proc in one pass. */
export function processTree(pid) {
  const children = new Map();
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    const fields = statFields(entry);
    if (fields === undefined) continue;
    const parent = Number(fields[1]);
    const siblings = children.get(parent);
    if (siblings === undefined) children.set(parent, [Number(entry)]);
    else siblings.push(Number(entry));
  }
  const tree = [pid];
  for (let i = 0; i < tree.length; i++) tree.push(...(children.get(tree[i]) ?? []));
  return tree;
}

/** Fields of /proc/PID/stat after the command's name, which may hold blanks and parentheses itself. */
function statFields(pid) {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ');
  } catch {
    return undefined; // it ended between the listing and now
  }
}

/** Seconds of CPU, user and system, that the process, its threads and its descendants have used so far. */
export function cpuSeconds(pid) {
  let ticks = 0;
  for (const id of processTree(pid)) {
    const fields = statFields(id);
    if (fields !== undefined) ticks += Number(fields[11]) + Number(fields[12]);
  }
  return ticks / TICKS_PER_SECOND;
}

/**
 * Resident memory in bytes over the process tree. `rss` counts a page once in each process that maps it, `pss`
 * shares it out: PSS is the fairer sum for a program of several processes.
 */
export function memory(pid) {
  const total = { rss: 0, pss: 0 };
  for (const id of processTree(pid)) {
    try {
      const text = readFileSync(`/proc/${id}/smaps_rollup`, 'utf8');
      total.rss += 1024 * Number(/^Rss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
      total.pss += 1024 * Number(/^Pss:\s+(\d+)/m.exec(text)?.[1] ?? 0);
    } catch {
      // it ended between the listing and now
    }
  }
  return total;
}
