// Loads a configuration from texts: files are an object of paths, the working directory is /srv, the machine is "box".

import { inspect } from 'node:util';
import { type Loaded, type LoadInput, loadConfig } from '../../src/config/load.ts';
import { SetupError } from '../../src/platform/errors.ts';

export interface Given {
  readonly flags?: LoadInput['flags'];
  readonly env?: Record<string, string | undefined>;
  /** The text of /srv/keygate.yaml. */
  readonly yaml?: string;
  /** Further files by absolute path. */
  readonly files?: Record<string, string>;
  /** What `--config` names. */
  readonly config?: string;
}

export function load(given: Given = {}): Loaded {
  const files: Record<string, string> = { ...given.files };
  if (given.yaml !== undefined) files['/srv/keygate.yaml'] = given.yaml;
  return loadConfig({
    flags: given.flags ?? {},
    env: given.env ?? {},
    file: given.config,
    cwd: '/srv',
    hostname: 'box',
    readFile(path) {
      const text = files[path];
      if (text !== undefined) return text;
      throw Object.assign(new Error(`ENOENT: no such file, open '${path}'`), { code: 'ENOENT' });
    },
  });
}

/** The sentences with which a configuration is refused; fails the test when it is accepted. */
export function refusal(given: Given): string {
  try {
    const { config } = load(given);
    throw new Error(`accepted: ${inspect(config, { depth: 6 })}`);
  } catch (error) {
    if (error instanceof SetupError) return error.message;
    throw error;
  }
}
