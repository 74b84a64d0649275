// keygate.yaml as it stands: YAML read within bounds, and its outline checked (which keys, which kinds of value).
// What the values mean is checked by load.ts (settings), providers.ts (providers and models), limits.ts (the table of
// limits) and prices.ts (prices).

import { isScalar, LineCounter, parseDocument, visit } from 'yaml';
import { z } from 'zod';
import { ENVIRONMENTS } from '../keys/model.ts';
import { TABLE_FIELDS } from '../limits/tables.ts';
import { SetupError } from '../platform/errors.ts';
import { didYouMean, mightBeSecret, shown } from './problems.ts';
import { SETTINGS } from './settings.ts';

const MAX_CHARACTERS = 1024 * 1024;

/** An object with exactly these keys; an unknown one is an error that knows what was probably meant. */
function exactly<S extends z.core.$ZodLooseShape>(shape: S) {
  return z.strictObject(shape, {
    error: (issue) => {
      if (issue.code !== 'unrecognized_keys') return 'must be a group of settings';
      const known = Object.keys(shape);
      const wrong = issue.keys.map((key) => `has no setting ${keyName(key)}${didYouMean(key, known)}`);
      const guessed = issue.keys.every((key) => didYouMean(key, known) !== '');
      return wrong.join(', ') + (guessed ? '' : `; known are ${known.join(', ')}`);
    },
  });
}

function keyName(key: string): string {
  return mightBeSecret(key) ? 'of that name' : shown(key);
}

const text = z.string('must be a text');
const number = z.int('must be a whole number');
const list = (item: z.ZodType<string>) => z.array(item, 'must be a list of texts').max(10_000, 'is too long');
const mapOf = <T>(item: z.ZodType<T>) =>
  z.record(z.string(), item, 'must be a group of settings, each under its own name');

const TargetShape = exactly({
  provider: text,
  model: text.optional(),
  weight: number.min(1, 'must be at least 1').max(1000, 'must be at most 1000').optional(),
  priority: number.min(0, 'must be at least 0').max(100, 'must be at most 100').optional(),
});

/** `openai/gpt-5` is short for a group; the model's own name may hold further slashes. */
const Target = z
  .transform((value, context) => {
    if (typeof value !== 'string') return value;
    const slash = value.indexOf('/');
    if (slash > 0 && slash < value.length - 1) {
      return { provider: value.slice(0, slash), model: value.slice(slash + 1) };
    }
    context.issues.push({
      code: 'custom',
      message: 'must be "provider/model", or a group of provider, model, weight and priority',
      input: value,
    });
    return z.NEVER;
  })
  .pipe(TargetShape);

const Environments = z
  .array(
    z.enum(ENVIRONMENTS, 'must be one of development, staging and production'),
    'must be a list of environments',
  )
  .min(1, 'must name at least one environment')
  .refine((names) => new Set(names).size === names.length, 'names an environment twice')
  .optional();

const Targets = z
  .transform((value) => (Array.isArray(value) ? value : [value]))
  .pipe(z.array(Target).min(1, 'must name at least one target').max(100, 'must name at most 100 targets'));

const ModelGroup = exactly({ targets: Targets, environments: Environments });

/** Targets alone, or a group of them with the environments that may call the model. */
const Model = z.unknown().transform((value, context): z.infer<typeof ModelGroup> => {
  const grouped = typeof value === 'object' && value !== null && Object.hasOwn(value, 'targets');
  const read = grouped
    ? ModelGroup.safeParse(value)
    : z.object({ targets: Targets }).safeParse({ targets: value });
  if (read.success) return read.data;
  for (const { message, path } of read.error.issues) {
    context.issues.push({ code: 'custom', message, path: grouped ? path : path.slice(1), input: value });
  }
  return z.NEVER;
});

const Provider = exactly({
  base_url: text,
  credential: z.unknown().optional(),
  auth: z
    .enum(['bearer', 'x-api-key', 'api-key', 'none'], 'must be one of bearer, x-api-key, api-key and none')
    .optional(),
  headers: mapOf(text).nullish(),
  models: list(text).nullish(),
  priority: number.min(0, 'must be at least 0').max(100, 'must be at most 100').optional(),
  connections: number.min(1, 'must be at least 1').max(65_535, 'must be at most 65535').optional(),
  allow_private: z.boolean('must be true or false').optional(),
  environments: Environments,
});

/** The settings of settings.ts by their place: top-level ones, and groups of them. Their values are read later. */
function settingsShape(): Record<string, z.ZodType> {
  const shape: Record<string, z.ZodType> = {};
  const groups = new Map<string, Record<string, z.ZodType>>();
  for (const { path } of Object.values(SETTINGS)) {
    const [first = '', leaf] = path.split('.');
    if (leaf === undefined) {
      shape[first] = z.unknown().optional();
    } else {
      const group = groups.get(first) ?? {};
      group[leaf] = z.unknown().optional();
      groups.set(first, group);
    }
  }
  // The table of limits stands beside the settings of its group.
  for (const field of TABLE_FIELDS) (groups.get('limits') ?? {})[field] = z.unknown().optional();
  for (const [name, group] of groups) shape[name] = exactly(group).nullish();
  return shape;
}

const Providers = mapOf(Provider).nullish();
const Models = mapOf(Model).nullish();
const Outline = exactly({
  ...settingsShape(),
  providers: Providers,
  models: Models,
  prices: z.unknown().optional(),
  clouds: z.unknown().optional(),
});

export type ProviderEntry = z.infer<typeof Provider>;
export type TargetEntry = z.infer<typeof Target>;
export type ModelEntry = z.infer<typeof Model>;

export interface FileConfig {
  /** The value at a setting's path, or undefined. */
  setting(path: string): unknown;
  /** Undefined: the file does not speak of providers. */
  readonly providers: Readonly<Record<string, ProviderEntry>> | undefined;
  readonly models: Readonly<Record<string, ModelEntry>>;
  /** The fields of the table of limits that the file has, unread. */
  readonly limits: Readonly<Record<string, unknown>>;
  /** The administrator's own prices, unread. */
  readonly prices: unknown;
  /** As whom keygate asks clouds, unread. */
  readonly clouds: unknown;
}

export const NO_FILE: FileConfig = {
  setting: () => undefined,
  providers: undefined,
  models: {},
  limits: {},
  prices: undefined,
  clouds: undefined,
};

/**
 * @param source the file's text
 * @param name what errors call it
 * @throws SetupError that names the line, or the path of every wrong key and value
 */
export function parseFile(source: string, name: string): FileConfig {
  const parsed = Outline.safeParse(parseYaml(source, name) ?? {});
  if (!parsed.success) {
    throw new SetupError(parsed.error.issues.map((issue) => sentence(issue, name)).join('\n'));
  }
  const root: Record<string, unknown> = parsed.data;
  return {
    setting: (path) => path.split('.').reduce<unknown>(child, root),
    providers: Providers.parse(root['providers']) ?? undefined,
    models: Models.parse(root['models']) ?? {},
    limits: Object.fromEntries(
      TABLE_FIELDS.flatMap((field) => {
        const value = child(root['limits'], field);
        return value === undefined || value === null ? [] : [[field, value]];
      }),
    ),
    prices: root['prices'],
    clouds: root['clouds'],
  };
}

function child(value: unknown, key: string): unknown {
  return value !== null && typeof value === 'object' && Object.hasOwn(value, key)
    ? Reflect.get(value, key)
    : undefined;
}

function sentence(issue: z.core.$ZodIssue, name: string): string {
  const path = issue.path.map((part) => (mightBeSecret(String(part)) ? '…' : String(part))).join('.');
  return path === '' ? `${name} ${issue.message}.` : `In ${name}, ${path} ${issue.message}.`;
}

/** The library's own messages quote the source, which may hold a secret: only its code and the place are told. */
function parseYaml(source: string, name: string): unknown {
  if (source.length > MAX_CHARACTERS) throw new SetupError(`${name} is too long: at most 1 MB is read.`);
  const lines = new LineCounter();
  const document = parseDocument(source, { prettyErrors: false, lineCounter: lines, stringKeys: true });
  const [flaw] = [...document.errors, ...document.warnings];
  if (flaw) {
    const { line, col } = lines.linePos(flaw.pos[0]);
    const what = flaw.code.toLowerCase().replaceAll('_', ' ');
    throw new SetupError(`${name} is not valid YAML at line ${line}, column ${col}: ${what}.`);
  }
  visit(document, {
    // An object cannot carry this key safely, and the schema would pass over it without a word.
    Pair(_, { key }) {
      if (isScalar(key) && key.value === '__proto__') {
        throw new SetupError(`${name} has a key __proto__, which cannot name anything.`);
      }
    },
  });
  try {
    return document.toJS({ maxAliasCount: 100 });
  } catch {
    throw new SetupError(
      `${name} is not valid YAML: it refers to an anchor that is not there, or too often.`,
    );
  }
}
