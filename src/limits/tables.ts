// Limits as data: the shape of a table, its checks, and the parsed, frozen form that draw.ts reads.
//
// A table is written in YAML under `limits:` of the configuration, or kept as rows that the Administration API edits;
// both end here. docs/limits.md explains every field to the administrator.

import { z } from 'zod';
import { SetupError } from '../platform/errors.ts';
import { MAX_AMOUNT } from './bucket.ts';
import { DIMENSION_NAMES, type Dimension } from './model.ts';

const amount = z
  .number()
  .int('a limit is a whole number')
  .min(0, 'a limit is not negative; 0 lets nothing through')
  .max(MAX_AMOUNT, `a limit is at most ${MAX_AMOUNT}; leave it out to have none`);

const dimensions: Record<Dimension, z.ZodOptional<typeof amount>> = {
  requests_per_minute: amount.optional(),
  requests_per_day: amount.optional(),
  tokens_per_minute: amount.optional(),
  tokens_per_day: amount.optional(),
  images_per_minute: amount.optional(),
  audio_seconds_per_minute: amount.optional(),
  batch_tokens: amount.optional(),
};

const name = z.string().min(1).max(256);

/** Limits of one model, group or long-context pool: at least one dimension. */
export const entry = z
  .strictObject(dimensions)
  .refine((line) => DIMENSION_NAMES.some((dimension) => line[dimension] !== undefined), {
    message: `name at least one of ${DIMENSION_NAMES.join(', ')}`,
  });

/** By model, `prefix*`, `*` (each model not named), group, long-context pool, or `all` (every model together). */
const entries = z.record(name, entry);

const modelNames = z.array(name).min(1);

const tier = z.strictObject({
  name: z.string().min(1).max(64),
  /** Dollars paid since the beginning. */
  paid_usd: z.number().min(0).max(1e9).default(0),
  /** Whole days since the first payment. */
  days: z.number().int().min(0).max(36_500).default(0),
  limits: entries,
});

const shape = z.strictObject({
  /** Lowest first. An organization sits in the highest whose thresholds it passes. */
  tiers: z.array(tier).min(1).max(64),
  groups: z.record(name, modelNames).default({}),
  long_context: z
    .record(name, z.strictObject({ models: modelNames, above: z.number().int().min(1).max(100_000_000) }))
    .default({}),
  organizations: z
    .record(name, z.strictObject({ tier: z.string().optional(), limits: entries.default({}) }))
    .default({}),
  projects: z.record(name, entries).default({}),
  service_accounts: z.record(name, entries).default({}),
  api_keys: z.record(name, entries).default({}),
  end_users: z.record(name, entries).default({}),
  /** Reserved for a reply whose call states no bound, by model, `prefix*` or `*`. */
  reply_tokens: z.record(name, z.number().int().min(0).max(10_000_000)).default({ '*': 1_024 }),
  /** `sum`: prompt and reply are both reserved. `larger`: the larger of the two, as the platform does. */
  charge: z.enum(['sum', 'larger']).default('sum'),
});

/** What a table has on its first level. */
export const TABLE_FIELDS: readonly string[] = Object.keys(shape.shape);

export type TableInput = z.input<typeof shape>;
/** A table that was checked, still plain data: it can be kept, shown and sent to a thread. */
export type Table = z.output<typeof shape>;
export type Limits = Readonly<Partial<Record<Dimension, number | undefined>>>;
export type Entries = Readonly<Record<string, Limits>>;

export interface Tier {
  readonly name: string;
  /** Nano-dollars paid since the beginning. */
  readonly paid: bigint;
  readonly days: number;
  readonly limits: LimitMap;
}

/** Statements about models, ready to be asked. */
export interface LimitMap {
  /** By exact name: models, groups, long-context pools, `all`. */
  readonly named: ReadonlyMap<string, Limits>;
  readonly patterns: readonly { readonly prefix: string; readonly limits: Limits }[];
}

/** Which names a list of model names and patterns covers. */
export interface ModelSet {
  readonly name: string;
  readonly exact: ReadonlySet<string>;
  /** Longest first. */
  readonly prefixes: readonly string[];
}

export interface LongContext extends ModelSet {
  /** Prompts of more tokens than this draw on the long-context pool. */
  readonly above: number;
}

export interface LimitTables {
  readonly tiers: readonly Tier[];
  readonly groups: readonly ModelSet[];
  readonly longContext: readonly LongContext[];
  readonly organizations: ReadonlyMap<string, { readonly tier: string | null; readonly limits: LimitMap }>;
  readonly projects: ReadonlyMap<string, LimitMap>;
  readonly serviceAccounts: ReadonlyMap<string, LimitMap>;
  readonly apiKeys: ReadonlyMap<string, LimitMap>;
  readonly endUsers: ReadonlyMap<string, LimitMap>;
  readonly replyTokens: {
    readonly named: ReadonlyMap<string, number>;
    readonly patterns: readonly ReplyPattern[];
  };
  readonly charge: 'sum' | 'larger';
}

interface ReplyPattern {
  readonly prefix: string;
  readonly tokens: number;
}

/**
 * A table of limits from parsed YAML or JSON.
 * @throws SetupError that names every field that cannot be used, and what to write instead
 */
export function parseTables(input: unknown, where = 'limits'): LimitTables {
  return tablesOf(checkTable(input, where));
}

/** As parseTables, with the defaults filled in and otherwise as it was written. */
export function checkTable(input: unknown, where = 'limits'): Table {
  const parsed = shape.safeParse(input);
  if (!parsed.success) {
    const said = parsed.error.issues.map((issue) => `${[where, ...issue.path].join('.')}: ${issue.message}`);
    throw new SetupError(`The table of limits cannot be used.\n${said.join('\n')}`);
  }
  const data = parsed.data;
  const wrong = contradictions(data);
  if (wrong.length > 0) {
    throw new SetupError(
      `The table of limits cannot be used.\n${wrong.map((text) => `${where}.${text}`).join('\n')}`,
    );
  }
  return data;
}

export function tablesOf(data: Table): LimitTables {
  return {
    tiers: data.tiers.map((row) => ({
      name: row.name,
      paid: BigInt(Math.round(row.paid_usd * 100)) * 10_000_000n,
      days: row.days,
      limits: limitMap(row.limits),
    })),
    groups: Object.entries(data.groups).map(([group, models]) => modelSet(group, models)),
    longContext: Object.entries(data.long_context).map(([pool, row]) => ({
      ...modelSet(pool, row.models),
      above: row.above,
    })),
    organizations: new Map(
      Object.entries(data.organizations).map(([id, row]) => [
        id,
        { tier: row.tier ?? null, limits: limitMap(row.limits) },
      ]),
    ),
    projects: mapOf(data.projects),
    serviceAccounts: mapOf(data.service_accounts),
    apiKeys: mapOf(data.api_keys),
    endUsers: mapOf(data.end_users),
    replyTokens: {
      named: new Map(Object.entries(data.reply_tokens).filter(([key]) => !key.endsWith('*'))),
      patterns: Object.entries(data.reply_tokens)
        .filter(([key]) => key.endsWith('*'))
        .map(([key, tokens]) => ({ prefix: key.slice(0, -1), tokens }))
        .sort((a, b) => b.prefix.length - a.prefix.length),
    },
    charge: data.charge,
  };
}

/** What each field allows by itself but the table as a whole does not. */
function contradictions(data: z.output<typeof shape>): string[] {
  const wrong: string[] = [];
  const pools = new Set<string>();
  for (const [kind, names] of [
    ['groups', Object.keys(data.groups)],
    ['long_context', Object.keys(data.long_context)],
  ] as const) {
    for (const pool of names) {
      if (pool === 'all' || pool.includes('*'))
        wrong.push(`${kind}.${pool}: this name is reserved; choose another`);
      if (pools.has(pool)) wrong.push(`${kind}.${pool}: a group already has this name; choose another`);
      pools.add(pool);
    }
  }
  for (const [kind, sets] of [
    ['groups', Object.entries(data.groups)],
    ['long_context', Object.entries(data.long_context).map(([pool, row]) => [pool, row.models] as const)],
  ] as const) {
    const owners = new Map<string, string>();
    for (const [pool, models] of sets) {
      for (const model of models) {
        const other = owners.get(model);
        if (other !== undefined)
          wrong.push(`${kind}.${pool}: ${model} is already in ${other}; keep it in one`);
        if (pools.has(model)) wrong.push(`${kind}.${pool}: ${model} is the name of a pool, not of a model`);
        owners.set(model, pool);
      }
    }
  }
  const tiers = new Set<string>();
  let before: { name: string; paid_usd: number; days: number } | undefined;
  for (const row of data.tiers) {
    if (tiers.has(row.name)) wrong.push(`tiers: there are two tiers named ${row.name}`);
    tiers.add(row.name);
    if (before !== undefined && (row.paid_usd < before.paid_usd || row.days < before.days)) {
      wrong.push(`tiers: ${row.name} asks less than ${before.name} before it; list the lowest tier first`);
    }
    before = row;
  }
  const first = data.tiers[0];
  if (first !== undefined && (first.paid_usd > 0 || first.days > 0)) {
    wrong.push(`tiers: the first tier, ${first.name}, must ask nothing (paid_usd 0 and days 0)`);
  }
  for (const [id, row] of Object.entries(data.organizations)) {
    if (row.tier !== undefined && !tiers.has(row.tier)) {
      wrong.push(
        `organizations.${id}.tier: there is no tier ${row.tier}; use one of ${[...tiers].join(', ')}`,
      );
    }
  }
  return wrong;
}

function mapOf(rows: Readonly<Record<string, Entries>>): ReadonlyMap<string, LimitMap> {
  return new Map(Object.entries(rows).map(([id, row]) => [id, limitMap(row)]));
}

export function limitMap(rows: Entries): LimitMap {
  const all = Object.entries(rows);
  return {
    named: new Map(all.filter(([key]) => !key.endsWith('*'))),
    patterns: all
      .filter(([key]) => key.endsWith('*'))
      .map(([key, limits]) => ({ prefix: key.slice(0, -1), limits }))
      .sort((a, b) => b.prefix.length - a.prefix.length),
  };
}

function modelSet(pool: string, models: readonly string[]): ModelSet {
  return {
    name: pool,
    exact: new Set(models.filter((model) => !model.endsWith('*'))),
    prefixes: models
      .filter((model) => model.endsWith('*'))
      .map((model) => model.slice(0, -1))
      .sort((a, b) => b.length - a.length),
  };
}

/** The set that names `model`, exactly or by the longest prefix. */
export function coveringSet<S extends ModelSet>(sets: readonly S[], model: string): S | null {
  let found: S | null = null;
  let length = -1;
  for (const set of sets) {
    if (set.exact.has(model)) return set;
    const prefix = set.prefixes.find((text) => model.startsWith(text));
    if (prefix !== undefined && prefix.length > length) {
      found = set;
      length = prefix.length;
    }
  }
  return found;
}

/** Tokens to reserve for the reply of a call to `model` that states no bound of its own. */
export function usualReply(tables: LimitTables, model: string): number {
  const named = tables.replyTokens.named.get(model);
  if (named !== undefined) return named;
  return tables.replyTokens.patterns.find(({ prefix }) => model.startsWith(prefix))?.tokens ?? 1_024;
}
