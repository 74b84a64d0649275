// Finds one setting at a time, in the first of the four places that has it: command line, environment, file, default.

import { resolve } from 'node:path';
import type { FileConfig } from './file.ts';
import type { Secret } from './model.ts';
import { type Problems, shown } from './problems.ts';
import { type Surroundings, secretFromEnvironment, secretFromReference } from './secrets.ts';
import { SETTING_NAMES, SETTINGS, type SettingName, type SettingValues } from './settings.ts';

/** Where a setting's value came from: `--port`, `KEYGATE_PORT`, `keygate.yaml` or `default`. */
export type Origins = Readonly<Record<SettingName, string>>;

export interface ReaderInput {
  readonly flags?: Partial<Readonly<Record<SettingName, string>>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
}

export class SettingReader {
  readonly #input: ReaderInput;
  readonly #file: FileConfig;
  readonly #fileName: string;
  readonly #from: Surroundings;
  readonly #problems: Problems;

  constructor(
    input: ReaderInput,
    file: FileConfig,
    fileName: string,
    from: Surroundings,
    problems: Problems,
  ) {
    this.#input = input;
    this.#file = file;
    this.#fileName = fileName;
    this.#from = from;
    this.#problems = problems;
  }

  value<N extends SettingName>(name: N): SettingValues[N] | undefined {
    const row = SETTINGS[name];
    const raw = this.#raw(name);
    if (raw === undefined) return row.standard;
    const value = row.kind.read(raw);
    if (value === undefined) {
      this.#problems.add(`${this.place(name)} must be ${row.kind.allowed}; it is ${shown(raw)}.`);
    }
    return value;
  }

  /** A file or folder: one that the configuration file names counts from that file's own place. */
  path(name: 'data' | 'tlsCert' | 'tlsKey'): string {
    const value = this.value(name) ?? '.';
    return this.#source(name) === 'file' ? this.#from.resolve(value) : resolve(this.#input.cwd, value);
  }

  secret(
    name:
      | 'databaseUrl'
      | 'redisUrl'
      | 'bootstrapAdminKey'
      | 'rootKey'
      | 'previousRootKey'
      | 'signInClientSecret'
      | 'smtpUrl'
      | 'auditWebhookUrl'
      | 'auditWebhookSecret',
  ): Secret | null {
    const row = SETTINGS[name];
    const source = this.#source(name);
    if (source === 'default') return null;
    const place = this.place(name);
    const secret =
      source === 'file'
        ? secretFromReference(this.#file.setting(row.path), place, this.#from, this.#problems)
        : secretFromEnvironment(row.env, this.#from, this.#problems);
    if (secret === null || row.kind.read(secret.reveal()) !== undefined) return secret;
    this.#problems.add(`${place} must lead to ${row.kind.allowed}.`);
    return null;
  }

  /** What a sentence calls the place that the value came from. */
  place(name: SettingName): string {
    const row = SETTINGS[name];
    switch (this.#source(name)) {
      case 'flag':
        return row.flag ?? row.env;
      case 'file':
        return `In ${this.#fileName}, ${row.path}`;
      default:
        return this.#input.env[row.env] === undefined && row.secret ? `${row.env}_FILE` : row.env;
    }
  }

  origins(): Origins {
    const origin = (name: SettingName): string => {
      const source = this.#source(name);
      return source === 'default' ? 'default' : source === 'file' ? this.#fileName : this.place(name);
    };
    return Object.fromEntries(SETTING_NAMES.map((name) => [name, origin(name)])) as Record<
      SettingName,
      string
    >;
  }

  #source(name: SettingName): 'flag' | 'env' | 'file' | 'default' {
    const row = SETTINGS[name];
    if (this.#input.flags?.[name] !== undefined) return 'flag';
    if (this.#env(row.env) !== undefined || (row.secret && this.#input.env[`${row.env}_FILE`] !== undefined))
      return 'env';
    return this.#file.setting(row.path) === undefined ? 'default' : 'file';
  }

  #raw(name: SettingName): unknown {
    const row = SETTINGS[name];
    switch (this.#source(name)) {
      case 'flag':
        return this.#input.flags?.[name];
      case 'env':
        return this.#env(row.env);
      case 'file':
        return this.#file.setting(row.path);
      default:
        return undefined;
    }
  }

  /**
   * Kubernetes gives every container of a namespace KEYGATE_PORT=tcp://… when a service there is called keygate
   * ("service links"): that is an address for clients, and nobody's setting.
   */
  get serviceLink(): boolean {
    return this.#input.env[SETTINGS.port.env]?.startsWith('tcp://') ?? false;
  }

  #env(variable: string): string | undefined {
    return variable === SETTINGS.port.env && this.serviceLink ? undefined : this.#input.env[variable];
  }
}
