// The prompt log's own thread: puts together, redacts and writes, so that none of it holds up a call.

import { parentPort, workerData } from 'node:worker_threads';
import { type Entry, lineOf } from './entry.ts';
import { type FileBounds, PromptFiles } from './files.ts';
import type { Redaction } from './redact.ts';

export interface WorkerOptions {
  readonly folder: string;
  readonly node: string;
  readonly bounds: FileBounds;
  readonly redaction: Redaction;
}

export type ToWorker =
  | { readonly entry: Entry; readonly bytes: number }
  /** So many calls found no room. */
  | { readonly dropped: number; readonly at: number };
/** Written: so many bytes are off the queue. A failure is told once a message and nothing is tried again. */
export type FromWorker = { readonly written: number; readonly failed?: string };

const { folder, node, bounds, redaction } = workerData as WorkerOptions;
let files: PromptFiles | null = null;

parentPort?.on('message', (message: ToWorker) => {
  const written = 'entry' in message ? message.bytes : 0;
  try {
    files ??= new PromptFiles(folder, node, bounds);
    if ('entry' in message) files.append(lineOf(message.entry, redaction), Date.now());
    else {
      const time = new Date(message.at).toISOString();
      files.append(`${JSON.stringify({ time, dropped_calls: message.dropped })}\n`, Date.now());
    }
    answer({ written });
  } catch (error) {
    // The code alone: a message could hold what was to be written.
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'unknown';
    answer({ written, failed: code });
  }
});

function answer(message: FromWorker): void {
  parentPort?.postMessage(message);
}
