// wrk as the load generator: closed loop, a fixed number of connections, fixed requests in turn, one core.

import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pinned } from './processes.mjs';

/** A text as Lua writes it. */
const quote = (text) => JSON.stringify(text).replace(/\\u([0-9a-f]{4})/g, '\\u{$1}');

const tableOf = (headers) =>
  `{ ${Object.entries(headers)
    .map(([name, value]) => `[${quote(name)}] = ${quote(value)}`)
    .join(', ')} }`;

/** Lua for wrk: the requests, built once, and the summary as one line of JSON. Latencies are in microseconds. */
function script(method, requests, pauseMs) {
  const lines = [`wrk.method = ${quote(method)}`];
  lines.push(
    'local given, requests, at = {}, {}, 0',
    ...requests.map(({ headers, body }) => `given[#given + 1] = { ${tableOf(headers)}, ${quote(body)} }`),
    'init = function()',
    '  for i, one in ipairs(given) do',
    '    one[1].Host = wrk.headers.Host',
    '    requests[i] = wrk.format(nil, nil, one[1], one[2])',
    '  end',
    'end',
    'request = function()',
    '  at = at % #requests + 1',
    '  return requests[at]',
    'end',
    ...(pauseMs > 0 ? [`delay = function() return math.random(0, ${2 * pauseMs}) end`] : []),
    'done = function(summary, latency)',
    '  local e = summary.errors',
    `  io.write(string.format('RESULT {"requests":%d,"microseconds":%d,"bytes":%d,"refused":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d,' ..`,
    `    '"p50":%d,"p90":%d,"p99":%d,"max":%d}\\n', summary.requests, summary.duration, summary.bytes,`,
    '    e.status, e.connect, e.read, e.write, e.timeout,',
    '    latency:percentile(50), latency:percentile(90), latency:percentile(99), latency.max))',
    'end',
  );
  return lines.join('\n');
}

/**
 * Drives `url` for `seconds` with wrk at `program`. `refused` counts replies of status 400 and above; `connect`, `read`
 * and `write` broken connections, `timeout` calls that took too long: a run is only good when all are nought.
 * `pauseMs`: how long a connection rests before each call, in the mean; 0 drives as fast as it goes.
 */
export function wrk(program, url, { method, requests }, { connections, seconds, core, pauseMs = 0 }) {
  const folder = mkdtempSync(join(tmpdir(), 'bench-wrk-'));
  const file = join(folder, 'request.lua');
  writeFileSync(file, script(method, requests, pauseMs));
  const [first, ...args] = [
    ...pinned(core),
    program,
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--timeout',
    '10s',
    '-s',
    file,
    url,
  ];
  return new Promise((resolve, reject) => {
    execFile(first, args, { maxBuffer: 1 << 20 }, (error, out, err) => {
      rmSync(folder, { recursive: true, force: true });
      const found = /^RESULT (.*)$/m.exec(out);
      if (error || !found) return reject(new Error(`wrk failed: ${error?.message ?? ''}\n${out}${err}`));
      const result = JSON.parse(found[1]);
      resolve({ ...result, perSecond: result.requests / (result.microseconds / 1e6) });
    });
  });
}
