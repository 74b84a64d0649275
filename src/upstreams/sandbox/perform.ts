// Performs a plan on a real reply: waits, writes, breaks off. Small events leave together in one write of up to
// WRITE_CHARS where the plan does not wait between them; a reader that does not read is waited for.

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { Plan } from './plan.ts';

const WRITE_CHARS = 16 * 1024;

/** Resolves after `ms` milliseconds, or as soon as the signal is aborted; never rejects. */
export type Wait = (ms: number, signal: AbortSignal) => Promise<void>;

export async function perform(plan: Plan, response: ServerResponse, wait: Wait): Promise<void> {
  if (response.destroyed) return;
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  let pending = '';
  const flush = async (): Promise<void> => {
    if (!response.headersSent) return;
    const text = pending;
    pending = '';
    if (text === '') response.flushHeaders();
    else await write(response, text, gone.signal);
  };
  for (const step of plan.steps) {
    if (gone.signal.aborted) return;
    switch (step.do) {
      case 'wait':
        await flush();
        await wait(step.ms, gone.signal);
        break;
      case 'head':
        response.writeHead(plan.status, { ...plan.headers });
        break;
      case 'send':
        if (typeof step.data === 'string') {
          pending += step.data;
          if (pending.length >= WRITE_CHARS) await flush();
        } else {
          if (pending !== '') await flush();
          await write(response, step.data, gone.signal);
        }
        break;
      case 'stall':
        await flush();
        if (!gone.signal.aborted) await once(gone.signal, 'abort');
        return;
      case 'cut':
        await sent(response, pending);
        response.destroy();
        return;
    }
  }
  if (!gone.signal.aborted) response.end(pending);
}

// What was said before the cut leaves this process before the connection is destroyed.
async function sent(response: ServerResponse, pending: string): Promise<void> {
  if (pending !== '') await new Promise<void>((done) => response.write(pending, () => done()));
  else if (response.headersSent) {
    response.flushHeaders();
    await new Promise<void>((done) => setImmediate(done));
  }
}

async function write(response: ServerResponse, data: string | Uint8Array, gone: AbortSignal): Promise<void> {
  if (response.write(data) || gone.aborted) return;
  await Promise.race([once(response, 'drain', { signal: gone }), once(gone, 'abort')]).catch(() => {});
}
