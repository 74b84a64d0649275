// What up, build and verify share: dependencies in place, the pinned Node.js found, a command run. It runs before
// anything is installed and on the machine's own Node.js (20 or newer), so it imports nothing but Node's own modules.

import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const ROOT = fileURLToPath(new URL('..', import.meta.url));
export const BIN = join(ROOT, 'node_modules', '.bin');

const NODE_NEEDED = 24;
const PINNED_BIN = join(ROOT, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin');
const PINNED = join(PINNED_BIN, 'node');

/** Ends a script with one sentence instead of a stack. */
export class Sentence extends Error {}

/** Runs `main` and ends the process with the code that it gives; a Sentence is printed and ends it with 1. */
export async function script(main) {
  try {
    process.exitCode = await main();
  } catch (error) {
    if (!(error instanceof Sentence)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

/** Installs exactly what package-lock.json says, unless that is what node_modules holds. */
export async function installIfNeeded() {
  if (isInstalled()) return false;
  const say = ['--no-audit', '--no-fund', '--no-progress', '--loglevel=error'];
  // npm runs this script, so it is there; NODE_ENV=production must not leave the compiler out.
  const code = await run('npm', ['ci', '--include=dev', '--include=optional', ...say]);
  if (code !== 0)
    throw new Sentence(`npm ci failed (${code}): see above. It needs to reach the npm registry.`);
  return true;
}

/** Whether every package of the lock file is in node_modules, as npm's own record there says. */
function isInstalled() {
  const wanted = packages('package-lock.json');
  const there = packages('node_modules/.package-lock.json');
  return Object.entries(wanted).every(([path, one]) => {
    if (path === '' || one.link) return true;
    const installed = there[path];
    // An optional package that is not for this machine is left out by npm.
    if (installed === undefined)
      return one.optional === true || one.devOptional === true || one.peer === true;
    return installed.version === one.version && installed.integrity === one.integrity;
  });
}

function packages(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path), 'utf8')).packages ?? {};
  } catch {
    return {};
  }
}

/** The Node.js to run keygate with: the pinned one, or the machine's own if that is new enough. */
export function nodeBinary() {
  if (existsSync(PINNED)) return PINNED;
  if (Number.parseInt(process.versions.node, 10) >= NODE_NEEDED) return process.execPath;
  throw new Sentence(
    `keygate needs Node.js ${NODE_NEEDED} or newer. This is ${process.versions.node}, and npm has no pinned one for ` +
      `${process.platform}-${process.arch}: install Node.js ${NODE_NEEDED} from nodejs.org.`,
  );
}

/** The environment in which tools run: the pinned Node.js and the package's own commands come first. */
export function environment() {
  const key = Object.keys(process.env).find((name) => name.toUpperCase() === 'PATH') ?? 'PATH';
  return { ...process.env, [key]: [PINNED_BIN, BIN, process.env[key] ?? ''].join(delimiter) };
}

/** When the newest file or folder below these was changed, in milliseconds; a removed file changes its folder. */
export function newest(...paths) {
  let latest = 0;
  for (const path of paths.map((one) => join(ROOT, one))) {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) continue;
    latest = Math.max(latest, stat.mtimeMs);
    if (!stat.isDirectory()) continue;
    for (const entry of readdirSync(path, { recursive: true })) {
      latest = Math.max(latest, statSync(join(path, entry), { throwIfNoEntry: false })?.mtimeMs ?? 0);
    }
  }
  return latest;
}

/**
 * Runs a command on this process's own streams and gives its exit code, as a shell would: 128 and the number of the
 * signal that ended it. Signals to this process are passed on to it.
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, env: environment(), stdio: 'inherit', ...options });
    const pass = (signal) => child.kill(signal);
    process.on('SIGINT', pass).on('SIGTERM', pass);
    const done = (settle) => {
      process.off('SIGINT', pass).off('SIGTERM', pass);
      settle();
    };
    child.once('error', (error) =>
      done(() => reject(new Sentence(`${command} cannot be started: ${error.message}`))),
    );
    child.once('close', (code, signal) =>
      done(() => resolve(code ?? 128 + (constants.signals[signal] ?? 0))),
    );
  });
}
