// Latency without a queue: one call at a time on one kept connection to each target, spaced, the targets in turn
// call by call, timed from the write of the request to the first byte of the reply's body and to its last.

import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { percentile } from '../lib/numbers.mjs';
import { requestsTo } from './throughput.mjs';

/** A client with one connection, which does no more than a measurement needs. */
class Caller {
  constructor(target, call) {
    const { method, path } = call.request;
    const [{ headers, body }] = requestsTo(target, call);
    const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
    this.bytes = Buffer.from(
      `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1:${target.port}\r\n${lines.join('\r\n')}\r\n` +
        `content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    );
    this.end = Array.isArray(call.reply) ? Buffer.from('\r\n0\r\n\r\n') : Buffer.from(call.reply.slice(-32));
    this.target = target;
    this.socket = connect({ port: target.port, host: '127.0.0.1', noDelay: true });
    this.socket.on('error', (error) => this.fail?.(error));
    this.socket.on('close', () => this.fail?.(new Error(`${target.name} closed the connection`)));
    this.socket.on('data', (chunk) => this.take(chunk));
  }

  take(chunk) {
    const now = performance.now();
    this.seen = Buffer.concat([this.seen ?? Buffer.alloc(0), chunk]);
    const head = this.seen.indexOf('\r\n\r\n');
    if (this.first === undefined && head >= 0 && this.seen.length > head + 4) this.first = now;
    // A chunked reply that ends with an empty chunk, or the last bytes of the fixed JSON.
    if (this.seen.length >= this.end.length && this.seen.subarray(-this.end.length).equals(this.end)) {
      const status = Number(this.seen.toString('latin1', 9, 12));
      if (status !== 200) this.fail(new Error(`${this.target.name} answered ${status}`));
      else this.done({ first: this.first - this.began, last: now - this.began });
    }
  }

  /** Times in milliseconds. */
  call() {
    return new Promise((done, fail) => {
      this.done = done;
      this.fail = fail;
      this.first = undefined;
      this.seen = undefined;
      this.began = performance.now();
      this.target.calls += 1;
      this.socket.write(this.bytes);
    });
  }

  close() {
    this.fail = undefined;
    this.socket.destroy();
  }
}

const WARMING = 50;

/** Percentiles in milliseconds of `samples` calls to each target, `spacingMs` between one call and the next. */
export async function firstByte(targets, call, { samples, spacingMs }) {
  const callers = targets.map((target) => new Caller(target, call));
  const times = new Map(targets.map((target) => [target.name, []]));
  for (let i = 0; i < samples + WARMING; i++) {
    for (const caller of callers) {
      await delay(spacingMs);
      const time = await caller.call();
      if (i >= WARMING) times.get(caller.target.name).push(time);
    }
  }
  for (const caller of callers) caller.close();
  const figures = (name, key) => times.get(name).map((time) => time[key]);
  return Object.fromEntries(
    targets.map(({ name }) => [
      name,
      {
        firstP50Ms: percentile(figures(name, 'first'), 0.5),
        firstP99Ms: percentile(figures(name, 'first'), 0.99),
        lastP50Ms: percentile(figures(name, 'last'), 0.5),
        lastP99Ms: percentile(figures(name, 'last'), 0.99),
      },
    ]),
  );
}
