// Runs a command with the PostgreSQL and the Redis (or Valkey) that the tests need:
//
//   node scripts/services.mjs -- vitest run
//
// For each of the two, the first of these that works:
//   1. the environment names one already (KEYGATE_TEST_DATABASE_URL, KEYGATE_TEST_REDIS_URL): it is used as it is;
//   2. the program is on this machine: a private instance is started, on a free port of 127.0.0.1, with a password of
//      its own, in a temporary folder, as an unprivileged user, and removed at the end. This comes before a server
//      that may be running already, because tests create and drop databases, and a server that is somebody's own
//      must not be disturbed, nor its version or settings decide whether the tests pass;
//   3. a server without a password answers on the standard port of 127.0.0.1 (in a container, for one): it is used.
//      The tests make databases of their own in PostgreSQL; of Redis, database 15 is used, and only if it is empty;
//   4. this is root on a machine with apt: the packages are installed, and then as 2;
//   5. otherwise one sentence says what to install.
//
// The private instances do not sync to disk: they live for one run. They end with this process, however it ends:
// each hangs on a pipe from here, and the shell that holds the other end of it stops the server and removes its
// folder when the pipe closes. Plain Node 20 or newer, no dependency.

import { spawn, spawnSync } from 'node:child_process';
import { constants } from 'node:os';
import { lastLines, onPath } from './services/files.mjs';
import { postgres } from './services/postgres.mjs';
import { redis } from './services/redis.mjs';
import { stopServers, Unavailable } from './services/server.mjs';

async function main() {
  const command = process.argv.slice(2);
  if (command[0] === '--') command.shift();
  if (command.length === 0) {
    console.error('Usage: node scripts/services.mjs -- <command> [argument…]');
    return 2;
  }
  try {
    const services = [postgres, redis];
    const urls = await provide(services);
    return await run(command, Object.fromEntries(services.map(({ variable }, i) => [variable, urls[i]])));
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    console.error(`services: ${error.message}`);
    return 1;
  } finally {
    await stopServers();
  }
}

/** The URL of each service; what is missing is installed at once, if it can be. */
async function provide(services) {
  const urls = await Promise.all(services.map((service) => service.find()));
  const missing = services.filter((_, i) => urls[i] === null);
  if (missing.length === 0) return urls;
  install(missing);
  return await Promise.all(
    services.map(async (service, i) => {
      const url = urls[i] ?? (await service.startPrivate());
      if (url === null)
        throw new Unavailable(`${service.name} was installed, but its program was not found.`);
      return url;
    }),
  );
}

function install(services) {
  const names = services.map(({ name }) => name).join(' and ');
  const packages = services.flatMap((service) => service.packages).join(' ');
  const advice =
    `Install ${names} (on Debian or Ubuntu: apt-get install ${packages}), ` +
    `or set ${services.map(({ variable }) => variable).join(' and ')}.`;
  const apt = onPath('apt-get');
  if (process.getuid?.() !== 0 || apt === null) {
    throw new Unavailable(`the tests need ${names}, and there is none. ${advice}`);
  }
  console.error(`services: installing ${packages} for the tests`);
  const options = { env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' }, encoding: 'utf8' };
  // A mirror that fails to update may still have what is needed.
  spawnSync(apt, ['-q', 'update'], options);
  const step = ['-q', 'install', '-y', '--no-install-recommends', ...packages.split(' ')];
  const { status, stderr } = spawnSync(apt, step, options);
  if (status !== 0)
    throw new Unavailable(`apt-get could not install ${packages}: ${lastLines(stderr)} ${advice}`);
}

/** Runs the command to its end and gives its exit code; 128 and the signal's number if it was killed. */
function run([program, ...args], environment) {
  return new Promise((resolve) => {
    const child = spawn(program, args, { stdio: 'inherit', env: { ...process.env, ...environment } });
    // The terminal sends Ctrl-C to the command as well; other signals come only here.
    const forward = (signal) => child.kill(signal);
    const wait = () => {};
    process.on('SIGINT', wait).on('SIGTERM', forward).on('SIGHUP', forward);
    child.once('error', (error) => {
      const reason = error.code === 'ENOENT' ? 'there is no such program' : error.message;
      console.error(`services: ${program} cannot be run: ${reason}.`);
      resolve(127);
    });
    child.once('exit', (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}

// Whatever is still being started ends with this process.
process.exit(await main());
