// What the benchmark runs on and with: the tools, found or installed, and the core that the measured program has to
// itself, or has not.

import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { delimiter, join } from 'node:path';

/** Debian packages of the programs that the benchmarks call. */
const PACKAGES = { nginx: ['nginx-light', 'libnginx-mod-http-echo'], wrk: ['wrk'], taskset: ['util-linux'] };

function find(program) {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  for (const folder of folders) {
    const file = join(folder, program);
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // not in this folder
    }
  }
  return undefined;
}

/** The file of nginx's echo module, which plays the streaming provider, or undefined. */
function findEcho(nginx) {
  if (nginx === undefined) return undefined;
  const folders = [
    /--modules-path=(\S+)/.exec(nginxVersion(nginx))?.[1],
    '/usr/lib/nginx/modules',
    '/usr/share/nginx/modules',
  ];
  return folders
    .filter((folder) => folder !== undefined)
    .map((folder) => join(folder, 'ngx_http_echo_module.so'))
    .find((file) => existsSync(file));
}

/** Everything that `nginx -V` says; it says it on standard error. */
function nginxVersion(nginx) {
  return execFileSync('sh', ['-c', '"$0" -V 2>&1', nginx], { encoding: 'utf8' });
}

/**
 * Paths of nginx, its echo module, wrk and taskset. What is missing is installed with apt-get when this runs as
 * root on a Debian machine; otherwise the error names the packages.
 */
export function findTools(say) {
  const look = () => {
    const nginx = find('nginx');
    return { nginx, echoModule: findEcho(nginx), wrk: find('wrk'), taskset: find('taskset') };
  };
  let tools = look();
  const missing = () =>
    Object.entries(PACKAGES)
      .filter(
        ([program]) =>
          tools[program] === undefined || (program === 'nginx' && tools.echoModule === undefined),
      )
      .flatMap(([, packages]) => packages);
  if (missing().length > 0 && process.getuid?.() === 0 && find('apt-get') !== undefined) {
    say(`installing ${missing().join(', ')}`);
    const quiet = {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
    };
    const install = ['install', '-y', '--no-install-recommends', ...missing()];
    try {
      execFileSync('apt-get', install, quiet);
    } catch {
      execFileSync('apt-get', ['update'], quiet);
      execFileSync('apt-get', install, quiet);
    }
    tools = look();
  }
  if (missing().length > 0) {
    throw new Error(
      `The benchmark needs programs that are not here. Install these packages (names of Debian's): ${missing().join(', ')}`,
    );
  }
  return tools;
}

/** Pins this process, which drives some of the load itself, to one core with all of its threads. */
export function pinSelf(taskset, core) {
  execFileSync(taskset, ['-a', '-p', '-c', String(core), String(process.pid)], { stdio: 'ignore' });
}

/** Machine and versions, for the record. Throws where there are fewer than the two cores that the method needs. */
export function describeMachine(tools) {
  if (process.platform !== 'linux')
    throw new Error('The benchmark reads /proc and pins cores: it runs on Linux only.');
  if (availableParallelism() < 2) {
    throw new Error('The benchmark needs two cores: one for what is measured, one for everything else.');
  }
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.version,
    nginx: /nginx version: nginx\/(\S+)/.exec(nginxVersion(tools.nginx))?.[1] ?? 'unknown',
  };
}

/** Seconds in which a core has been busy since the machine started, with whatever programs. */
export function coreBusySeconds(core) {
  const line = new RegExp(`^cpu${core} (.*)$`, 'm').exec(readFileSync('/proc/stat', 'utf8'));
  if (line === null) throw new Error(`/proc/stat knows no core ${core}`);
  const [user, nice, system, , , irq, softirq, steal] = line[1].split(' ').map(Number);
  return (user + nice + system + irq + softirq + steal) / 100;
}
