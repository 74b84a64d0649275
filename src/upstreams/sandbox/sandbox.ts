// Runs the sandbox: an OpenAI-compatible provider on a thread of its own, behind a Unix socket, so that the road
// forwards to it as to any other provider and its work is not done on the road's thread. See docs/sandbox.md.
//
// The thread takes about 0.3 s and 50 MB (the tokenizer's tables), so it is started when the first call needs it.
// If it dies, a new one takes its place on the same socket; calls in between meet a closed door.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { SetupError } from '../../platform/errors.ts';
import { SANDBOX_MODELS, type SandboxModel } from './model.ts';
import type { FromSandbox, SandboxWorkerData } from './sandbox-worker.ts';

export interface SandboxOptions {
  /** Told, without any of its text, of a request that the sandbox failed over, and of a thread that died. */
  readonly onFault?: (message: string) => void;
  /** Starts the thread; a test gives its own. */
  readonly spawn?: (data: SandboxWorkerData) => SandboxWorker;
}

/** The part of a worker thread that is used here. */
export interface SandboxWorker {
  on(event: 'message', listener: (message: FromSandbox) => void): unknown;
  on(event: 'error', listener: (error: Error) => void): unknown;
  on(event: 'exit', listener: () => void): unknown;
  terminate(): Promise<unknown>;
}

export interface RunningSandbox {
  /** Where it listens, for as long as it is not closed. */
  readonly socketPath: string;
  readonly models: readonly SandboxModel[];
  /** Ends every call under way, the thread, and removes the socket. */
  close(): Promise<void>;
}

// What a socket's address can hold on the systems that have the least room for it (macOS: 104 with its zero).
const MAX_PATH = 103;
const RESTART_MS = 1_000;
// Without a bound V8 keeps 30 MB for the many short-lived things that a reply is made of.
const YOUNG_MB = 8;

/**
 * Resolves once it listens.
 *
 * @throws {SetupError} where the folder for temporary files cannot hold a socket
 */
export async function startSandbox(options: SandboxOptions = {}): Promise<RunningSandbox> {
  // Made by mkdtemp, so that only this user can enter it (0700).
  const folder = await mkdtemp(join(tmpdir(), 'keygate-sandbox-'));
  const socketPath = join(folder, 'api.sock');
  const thread = new SandboxThread(socketPath, options);
  const close = async (): Promise<void> => {
    await thread.close();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    if (Buffer.byteLength(socketPath) > MAX_PATH) {
      throw new SetupError(`The path ${socketPath} is too long for a socket: set TMPDIR to a shorter one.`);
    }
    await thread.start();
    return { socketPath, models: SANDBOX_MODELS, close };
  } catch (error) {
    await close();
    throw error;
  }
}

class SandboxThread {
  readonly #socketPath: string;
  readonly #onFault: (message: string) => void;
  readonly #spawn: (data: SandboxWorkerData) => SandboxWorker;
  #worker: SandboxWorker | null = null;
  #restart: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(socketPath: string, options: SandboxOptions) {
    this.#socketPath = socketPath;
    this.#onFault = options.onFault ?? (() => {});
    this.#spawn = options.spawn ?? spawnThread;
  }

  start(): Promise<void> {
    const worker = this.#spawn({ socketPath: this.#socketPath });
    this.#worker = worker;
    return new Promise((resolve, reject) => {
      worker.on('message', (message: FromSandbox) => {
        if (message.kind === 'listening') resolve();
        else this.#onFault(message.text);
      });
      worker.on('error', (error) => {
        this.#onFault(`the sandbox's thread died: ${error.message}`);
        reject(error);
      });
      worker.on('exit', () => {
        reject(new Error('the sandbox ended before it listened'));
        this.#ended(worker);
      });
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    await this.#worker?.terminate();
  }

  #ended(worker: SandboxWorker): void {
    if (this.#worker !== worker) return;
    this.#worker = null;
    if (this.#closed) return;
    this.#restart = setTimeout(() => {
      this.start().catch(() => {});
    }, RESTART_MS);
    this.#restart.unref();
  }
}

function spawnThread(workerData: SandboxWorkerData): Worker {
  // It needs none of this process's environment, where credentials may be.
  const resourceLimits = { maxYoungGenerationSizeMb: YOUNG_MB };
  return new Worker(new URL('./sandbox-worker.ts', import.meta.url), { workerData, env: {}, resourceLimits });
}
