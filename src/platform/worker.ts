// Starts a module of ours on a thread of its own, from source (.ts) and from the build (.js) alike.

import { Worker, type WorkerOptions } from 'node:worker_threads';

/**
 * @param from the caller's `import.meta.url`
 * @param path the worker's module beside it, without its extension: `./sqlite-worker`
 */
export function startWorker(from: string, path: string, options: WorkerOptions = {}): Worker {
  const extension = from.endsWith('.ts') ? '.ts' : '.js';
  return new Worker(new URL(path + extension, from), options);
}
