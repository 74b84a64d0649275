// Runs one command line in this process, with streams, variables and signals of the test's own.

import type { Io } from '../../src/cli/io.ts';
import { runCli } from '../../src/cli/program.ts';
import type { RunServer } from '../../src/cli/serve.ts';

export interface Given {
  readonly env?: Record<string, string>;
  readonly input?: string;
  /** Standard output is a terminal. */
  readonly terminal?: boolean;
  readonly inIsTerminal?: boolean;
  readonly files?: Record<string, string>;
  readonly runServer?: RunServer;
  readonly signals?: Signals;
  /** Milliseconds since the epoch. */
  readonly now?: number;
}

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export class Signals {
  readonly #listeners = new Set<() => void>();
  exited: number | undefined;
  now = 0;

  /** SIGINT or SIGTERM, `ms` after the one before. */
  send(ms = 0): void {
    this.now += ms;
    for (const listener of this.#listeners) listener();
  }

  on(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get listeners(): number {
    return this.#listeners.size;
  }
}

export async function run(args: readonly string[], given: Given = {}): Promise<Ran> {
  let out = '';
  let err = '';
  const signals = given.signals ?? new Signals();
  const io: Io = {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    env: given.env ?? {},
    cwd: '/srv',
    hostname: 'box',
    outIsTerminal: given.terminal ?? false,
    inIsTerminal: given.inIsTerminal ?? false,
    readInput: async () => given.input ?? '',
    readFile: (path) => {
      const text = given.files?.[path];
      if (text !== undefined) return text;
      throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
    },
    onSignal: (listener) => signals.on(listener),
    exitNow: (code) => {
      signals.exited = code;
    },
    now: () => given.now ?? 0,
    monotonic: () => signals.now,
  };
  const none: RunServer = () => Promise.reject(new Error('no server in this test'));
  const code = await runCli(args, io, given.runServer ?? none);
  return { code, out, err };
}
