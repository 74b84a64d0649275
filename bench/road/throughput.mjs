// Throughput at saturation: the same fixed call from a fixed number of connections, target after target, round
// after round (A B C A B C), so that what else the machine does meets all of them alike.

import { setTimeout as delay } from 'node:timers/promises';
import { coreBusySeconds } from '../lib/machine.mjs';
import { median } from '../lib/numbers.mjs';
import { cpuSeconds, memory } from '../lib/processes.mjs';
import { wrk } from '../lib/wrk.mjs';

/** The requests of a call as this target wants them: each with one of its keys, each key with the same few models. */
export function requestsTo(target, { request }) {
  return request.bodies.map((body, i) => {
    const key = target.keys[Math.floor((i * target.keys.length) / request.bodies.length)];
    return { body, headers: { ...request.headers, ...target.headers, authorization: `Bearer ${key}` } };
  });
}

/** A stream's reply is its events; it counts as their bytes, without what HTTP puts between them. */
const textOf = (reply) => (Array.isArray(reply) ? reply.join('') : reply);
const lengthOf = (reply) => Buffer.byteLength(textOf(reply));

/**
 * One target, driven for some seconds. Throws when a single call failed, or came back short.
 * - `busy`: share of its core that the target used; well below 1, it was not the target that set the pace.
 * - `others`: share of its core that other programs used meanwhile; above a few hundredths, requests a second suffer
 *   for it and CPU time is the figure to trust.
 */
export async function drive(target, call, { program, connections, seconds, core, generatorCore, pauseMs }) {
  const used = cpuSeconds(target.child.pid);
  const total = coreBusySeconds(core);
  const began = performance.now();
  const url = `http://127.0.0.1:${target.port}${call.request.path}`;
  const load = { method: call.request.method, requests: requestsTo(target, call) };
  const result = await wrk(program, url, load, { connections, seconds, core: generatorCore, pauseMs });
  const elapsed = (performance.now() - began) / 1000;
  const cpu = cpuSeconds(target.child.pid) - used;
  const failed = result.connect + result.read + result.write + result.timeout;
  if (result.refused + failed > 0 || result.bytes < result.requests * lengthOf(call.reply)) {
    throw new Error(
      `${target.name} failed calls of ${result.requests}: ${result.refused} refused, ${result.connect} not connected, ` +
        `${result.read} broken off, ${result.write} not sent, ${result.timeout} too late; ` +
        `${Math.round(result.bytes / result.requests)} bytes each\n${target.child.output()}`,
    );
  }
  target.calls += result.requests;
  return {
    perSecond: result.perSecond,
    requests: result.requests,
    cpuPerThousand: (cpu / result.requests) * 1000,
    p50Ms: result.p50 / 1000,
    p90Ms: result.p90 / 1000,
    p99Ms: result.p99 / 1000,
    bytesPerCall: result.bytes / result.requests,
    busy: cpu / elapsed,
    others: Math.max(0, coreBusySeconds(core) - total - cpu) / elapsed,
    ...memory(target.child.pid),
  };
}

/** Throws when a target does not give the client exactly what the provider sent: then its speed means nothing. */
export async function checkReply(target, call) {
  const { path, method } = call.request;
  const [{ headers, body }] = requestsTo(target, call);
  const response = await fetch(`http://127.0.0.1:${target.port}${path}`, {
    method,
    headers,
    body,
  });
  const text = await response.text();
  target.calls += 1;
  if (response.status !== 200 || text !== textOf(call.reply)) {
    throw new Error(
      `${target.name} changed the ${call.name} reply (status ${response.status}): ${text.slice(0, 500)}\n${target.child.output()}`,
    );
  }
}

/** Above this share of the target's core in other programs' hands, the clock says little of the target. */
export const DISTURBED = 0.05;

/** Waits until the core has been free for a moment, or patience is spent; takes the time from `options.patienceMs`. */
async function quiet(options) {
  while (options.patienceMs > 0) {
    const began = performance.now();
    const busy = coreBusySeconds(options.core);
    await delay(500);
    const elapsed = performance.now() - began;
    if ((coreBusySeconds(options.core) - busy) * 1000 < DISTURBED * elapsed) return;
    options.patienceMs -= elapsed;
  }
}

/** One round of one target, again and again while it is disturbed and there is patience left. */
async function undisturbed(target, call, options) {
  for (;;) {
    await delay(options.restMs);
    await quiet(options);
    const result = await drive(target, call, options);
    if (result.others <= DISTURBED || options.patienceMs <= 0) return result;
    options.patienceMs -= options.seconds * 1000;
  }
}

/** Warms each target up, then drives all of them in turn `rounds` times. */
export async function alternate(targets, call, options, say) {
  for (const target of targets) {
    await checkReply(target, call);
    say(`${call.name}: warming ${target.name} up`);
    await drive(target, call, { ...options, seconds: options.warmup });
  }
  const rounds = new Map(targets.map((target) => [target.name, []]));
  for (let round = 1; round <= options.rounds; round++) {
    for (const target of targets) {
      const result = await undisturbed(target, call, options);
      rounds.get(target.name).push(result);
      say(`${call.name}: round ${round} ${target.name} ${Math.round(result.perSecond)}/s`);
    }
  }
  return Object.fromEntries(
    [...rounds].map(([name, results]) => [name, { ...middle(results), rounds: results }]),
  );
}

/** The median of each figure over the rounds. */
function middle(results) {
  const names = Object.keys(results[0]);
  return Object.fromEntries(names.map((name) => [name, median(results.map((result) => result[name]))]));
}

/** Median over the rounds of `figure` of `a` by that of `b` in the same round. */
export function ratio(a, b, figure) {
  return median(a.rounds.map((result, round) => result[figure] / b.rounds[round][figure]));
}
