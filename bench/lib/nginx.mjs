// nginx three times, one worker process each: as the plain reverse proxy that we measure ourselves against, and
// as a provider that answers a fixed reply, whole or chunk by chunk, faster than what stands before it can ask.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listening, start } from './processes.mjs';

/** Headers that a provider's replies carry besides type and length. */
const PROVIDER_HEADERS = {
  'x-request-id': 'req_0123456789abcdef0123456789abcdef',
  'openai-processing-ms': '12',
  'openai-version': '2020-10-01',
};

/** What any nginx in front of an API has: kept connections on both sides; and no log, which would only slow it. */
const frame = (folder, modules, http) => `
daemon off;
worker_processes 1;
pid ${folder}/pid;
error_log stderr warn;
${modules.map((file) => `load_module ${file};`).join('\n')}
events { worker_connections 4096; }
http {
  access_log off;
  server_tokens off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_time 24h;
  keepalive_requests 1000000000;
  client_body_temp_path ${folder}/body;
  proxy_temp_path ${folder}/proxy;
  fastcgi_temp_path ${folder}/fastcgi;
  uwsgi_temp_path ${folder}/uwsgi;
  scgi_temp_path ${folder}/scgi;
${http}
}
`;

/** @param {{ program: string, port: number, core: number, name: string, modules?: string[] }} where */
async function nginx({ program, port, core, name, modules = [] }, http) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-nginx-'));
  const file = join(folder, 'nginx.conf');
  writeFileSync(file, frame(folder, modules, http));
  const child = start(name, program, ['-e', 'stderr', '-p', folder, '-c', file], { core });
  const stop = child.stop;
  child.stop = async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  };
  await listening(port, child);
  return child;
}

/** A text as nginx's configuration writes it. It cannot hold "$", which would name a variable. */
function quoted(text) {
  if (text.includes('$')) throw new Error('nginx would read "$" in a fixed reply as a variable');
  return `"${text.replace(/[\\"]/g, '\\$&').replace(/\n/g, '\\n')}"`;
}

const headerLines = (headers) =>
  Object.entries(headers)
    .map(([name, value]) => `add_header ${name} ${quoted(value)};`)
    .join('\n      ');

/** A reverse proxy to 127.0.0.1:`upstream`, set up as nginx's manual says, its connections to the provider kept. */
export function reverseProxy({ program, port, upstream, core }) {
  return nginx(
    { program, port, core, name: 'nginx' },
    `
  upstream provider {
    server 127.0.0.1:${upstream};
    keepalive 1024;
    keepalive_requests 1000000000;
    keepalive_time 24h;
    keepalive_timeout 1h;
  }
  server {
    listen 127.0.0.1:${port} backlog=4096;
    location / {
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }
  }`,
  );
}

/** A provider that answers every request with `body`, and counts them: see `requestsSeen`. */
export function fixedReply({ program, port, body, core }) {
  return nginx(
    { program, port, core, name: 'provider' },
    `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    default_type application/json;
    location / {
      ${headerLines(PROVIDER_HEADERS)}
      return 200 ${quoted(body)};
    }
    location = /status { stub_status; }
  }`,
  );
}

/** Requests that the provider on `port` has been asked so far, this one not counted. */
export async function requestsSeen(port) {
  const text = await (await fetch(`http://127.0.0.1:${port}/status`)).text();
  return Number(/requests\s+\d+ \d+ (\d+)/.exec(text)?.[1]) - 1;
}

/**
 * A provider that answers every request with a stream: each of `events` is flushed by itself, `gapMs` apart.
 * `X-Accel-Buffering: no` is how a provider tells an nginx before it to pass chunks on as they come.
 * Needs nginx's echo module; `echoModule` is its file.
 */
export function fixedStream({ program, echoModule, port, events, gapMs, core }) {
  const pause = gapMs > 0 ? `echo_sleep ${(gapMs / 1000).toFixed(3)};` : '';
  const steps = events.map((event) => `echo -n ${quoted(event)}; echo_flush; `);
  return nginx(
    { program, port, core, name: 'provider', modules: [echoModule] },
    `
  server {
    listen 127.0.0.1:${port} backlog=4096;
    default_type "text/event-stream; charset=utf-8";
    location / {
      ${headerLines({ ...PROVIDER_HEADERS, 'cache-control': 'no-cache', 'x-accel-buffering': 'no' })}
      ${steps.join(`${pause}\n      `)}
    }
  }`,
  );
}
