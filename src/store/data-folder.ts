// The folder that holds the embedded database, readable by its owner only, and the small file that says which
// process uses it. The real lock is the kernel's lock on the database file, which ends with the process however it
// ends; `keygate.pid` only makes the refusal clear, and a stale one is harmless.

import { chmod, mkdir, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { SetupError } from '../platform/errors.ts';

const holderFormat = z.object({ pid: z.int().positive(), since: z.iso.datetime() });
type Holder = z.infer<typeof holderFormat>;

export class DataFolder {
  readonly path: string;
  readonly databasePath: string;
  readonly #holderPath: string;

  constructor(path: string) {
    this.path = path;
    this.databasePath = join(path, 'keygate.db');
    this.#holderPath = join(path, 'keygate.pid');
  }

  /**
   * Makes the folder (0700) and an empty database file (0600) where there are none; a database file that others
   * may read is closed to them. Throws SetupError when the folder cannot be used.
   */
  async prepare(): Promise<void> {
    try {
      await mkdir(this.path, { recursive: true, mode: 0o700 });
      // Created here and not by SQLite, so that it is never readable by others, not even at first. An existing
      // file must not be opened: closing any descriptor of it would drop this process's kernel locks on it.
      const created = await open(this.databasePath, 'wx', 0o600).catch(unlessExists);
      await created?.close();
      const { mode } = await stat(this.databasePath);
      if ((mode & 0o077) !== 0) await chmod(this.databasePath, 0o600);
    } catch (error) {
      throw new SetupError(
        `The data folder ${this.path} cannot be used (${systemCode(error)}). ` +
          'Make it writable for this user, or name another one with --data or KEYGATE_DATA.',
      );
    }
  }

  /** Names this process as the holder, after the kernel's lock was taken. */
  async hold(nowMs: number): Promise<void> {
    const holder: Holder = { pid: process.pid, since: new Date(nowMs).toISOString() };
    await writeFile(this.#holderPath, `${JSON.stringify(holder)}\n`, { mode: 0o600 });
  }

  /** Before the kernel's lock is given back, so that the next holder's file is not the one removed. */
  async release(): Promise<void> {
    await rm(this.#holderPath, { force: true });
  }

  /** The sentence for whoever finds the store locked. */
  async heldError(): Promise<SetupError> {
    const holder = await this.#holder();
    const who = holder ? `process ${holder.pid}, which started at ${holder.since}` : 'another process';
    return new SetupError(
      `The store in ${this.path} is in use by ${who}. ` +
        'Talk to that running server through its API (every keygate command does), or stop it first.',
    );
  }

  /** Identifies the database file, so that a removed or replaced one is noticed. */
  async fileId(): Promise<string> {
    const { dev, ino } = await stat(this.databasePath, { bigint: true });
    return `${dev}:${ino}`;
  }

  async #holder(): Promise<Holder | null> {
    try {
      const parsed = holderFormat.safeParse(JSON.parse(await readFile(this.#holderPath, 'utf8')));
      return parsed.success && isRunning(parsed.data.pid) ? parsed.data : null;
    } catch {
      return null;
    }
  }
}

function unlessExists(error: unknown): null {
  if (systemCode(error) === 'EEXIST') return null;
  throw error;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it runs, as another user.
    return systemCode(error) === 'EPERM';
  }
}

/** The operating system's name for what went wrong (`EACCES`). */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string'
    ? error.code
    : 'unknown error';
}
