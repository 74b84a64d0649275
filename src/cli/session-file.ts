// The session of whoever signed in with `keygate login`, one a server, in a file for this user alone.

import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';

const Session = z.object({ value: z.string(), expires_at: z.number(), email: z.string() });
const Sessions = z.record(z.string(), Session);

export type StoredSession = z.infer<typeof Session>;

/** `$XDG_CONFIG_HOME/keygate/sessions.json`, or in `~/.config`. */
function place(io: Io): string | null {
  const { XDG_CONFIG_HOME: config, HOME: home } = io.env;
  if (config !== undefined && config !== '') return join(config, 'keygate', 'sessions.json');
  return home === undefined || home === '' ? null : join(home, '.config', 'keygate', 'sessions.json');
}

function read(path: string): Record<string, StoredSession> {
  try {
    return Sessions.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch {
    // None yet, or none that can be used: signing in makes it anew.
    return {};
  }
}

/** The session for this server that has not ended. */
export function sessionFor(io: Io, url: string): StoredSession | undefined {
  const path = place(io);
  const session = path === null ? undefined : read(path)[url];
  return session !== undefined && session.expires_at * 1000 > io.now() ? session : undefined;
}

/** Keeps the session for this server, or with null forgets it. */
export function keepSession(io: Io, url: string, session: StoredSession | null): void {
  const path = place(io);
  if (path === null) {
    throw new CommandError(
      EXIT.configuration,
      'There is no place for the session: set HOME or XDG_CONFIG_HOME.',
    );
  }
  const { [url]: _, ...others } = read(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, JSON.stringify(session === null ? others : { ...others, [url]: session }), {
    mode: 0o600,
  });
  chmodSync(fresh, 0o600);
  renameSync(fresh, path);
}
