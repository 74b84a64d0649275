// The sandbox's thread: loads the tokenizer, listens on the socket, and says so.

import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { parentPort, workerData } from 'node:worker_threads';
import { Tokenizer } from '../../spend/count-text.ts';
import type { Wait } from './perform.ts';
import { createSandboxServer } from './server.ts';
import { newSetting } from './setting.ts';

export interface SandboxWorkerData {
  readonly socketPath: string;
}

/** What the thread tells: it listens; or it failed over one request, and where. */
export type FromSandbox = { readonly kind: 'listening' } | { readonly kind: 'fault'; readonly text: string };

const wait: Wait = (ms, signal) => delay(ms, undefined, { signal }).catch(() => {});

function tell(message: FromSandbox): void {
  parentPort?.postMessage(message);
}

const { socketPath }: SandboxWorkerData = workerData;
const salt = randomBytes(8).toString('hex');
const server = createSandboxServer({
  setting: newSetting(Tokenizer.of('o200k_base'), Date.now, salt),
  wait,
  onFault: (error) => tell({ kind: 'fault', text: placeOf(error) }),
});

// An error's message may quote the request; its place in our code does not.
function placeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown';
  const frames = error.stack?.split('\n').filter((line) => line.startsWith('    at ')) ?? [];
  return [error.name, ...frames.slice(0, 8)].join('\n');
}

// Of a thread that was here before and died: nobody listens on it.
rmSync(socketPath, { force: true });
server.listen(socketPath, () => tell({ kind: 'listening' }));
