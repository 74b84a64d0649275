// The ledger's side of `keygate costs reconcile`, and what a key is there: a credential that keygate holds at a
// provider. That is a provider's of keygate.yaml, or a project's own at it. keygate knows which of them a call went
// out with; the provider knows its own ids of them; `--key` says which is which.

import { InvalidArgumentError } from 'commander';
import type { LedgerDay, ProviderDay } from '../spend/reports/reconcile.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { findProject } from './projects.ts';
import { adminServer } from './server.ts';
import { type Bucket, fetchBuckets, nanoOf, timeText } from './usage-report.ts';

/** One `--key`: the provider's id of a credential. */
export interface KeyOption {
  readonly provider: string;
  /** Whose own credential it is; null: the provider's of keygate.yaml. */
  readonly project: string | null;
  readonly id: string;
}

/** What the two sides call each key; null: keys are not told apart. */
export type KeyNames = {
  readonly ofCall: (provider: string, projectId: string | null) => string;
  readonly ofId: (id: string) => string;
  /** Whether a project has a key of its own. */
  readonly byProject: boolean;
} | null;

/** `openai=key_1` or, with a project's own credential, `openai/Search team=key_2`. */
export function keyOption(text: string, before: readonly KeyOption[] = []): readonly KeyOption[] {
  const [, provider = '', project, id = ''] = /^([^/=]+)(?:\/(.+))?=([^=\s]+)$/.exec(text) ?? [];
  if (id === '') throw new InvalidArgumentError('It must be PROVIDER=ID or PROVIDER/PROJECT=ID.');
  return [...before, { provider, project: project ?? null, id }];
}

/** @throws CommandError where a key is of another provider, or two names are given to one */
export async function keyNames(
  io: Io,
  providers: readonly string[],
  keys: readonly KeyOption[],
): Promise<KeyNames> {
  if (keys.length === 0) return null;
  const byId = new Map<string, string>();
  const byProject = new Map<string, string>();
  for (const key of keys) {
    if (!providers.includes(key.provider))
      throw new CommandError(EXIT.usage, `--key names ${key.provider}: name it with --provider too.`);
    const project = key.project === null ? null : await findProject(adminServer(io), key.project);
    const name = project === null ? key.provider : `${key.provider}/${project.name}`;
    if ((byId.get(key.id) ?? name) !== name)
      throw new CommandError(
        EXIT.usage,
        `${key.id} is named for ${byId.get(key.id)} and for ${name}: what each of them used of one key cannot be told apart. Leave --key out to compare their sum.`,
      );
    byId.set(key.id, name);
    if (project !== null) byProject.set(`${key.provider} ${project.id}`, name);
  }
  return {
    ofCall: (provider, projectId) => byProject.get(`${provider} ${projectId}`) ?? provider,
    ofId: (id) => byId.get(id) ?? (id || '(no key)'),
    byProject: byProject.size > 0,
  };
}

/** The provider's rows, with its keys as both sides call them. */
export function withKeyNames(rows: readonly ProviderDay[], names: KeyNames): ProviderDay[] {
  if (names !== null && rows.length > 0 && rows.every(({ key }) => key === ''))
    throw new CommandError(
      EXIT.usage,
      'The provider’s rows name no keys: export them with a column api_key_id (or name it, --column key=…), or leave --key out.',
    );
  return rows.map((row) => ({ ...row, key: names?.ofId(row.key) ?? '' }));
}

/** The ledger of some providers; times in Unix seconds, the end is not in it. */
export async function fetchLedger(
  io: Io,
  providers: readonly string[],
  range: { readonly startTime: number; readonly endTime: number },
  names: KeyNames,
): Promise<LedgerDay[]> {
  const ledger: LedgerDay[] = [];
  for (const provider of new Set(providers)) {
    const buckets = await fetchBuckets(adminServer(io), '/v1/keygate/usage', {
      ...range,
      width: '1d',
      groups: names?.byProject ? ['model', 'project_id'] : ['model'],
      filters: { 'providers[]': provider },
    });
    const days = buckets.flatMap((bucket) => ledgerDays(bucket, provider, names));
    if (days.length === 0)
      io.err(
        `keygate has no calls of a provider called "${provider}" on these days: is that its name in keygate.yaml?\n`,
      );
    ledger.push(...days);
  }
  return ledger;
}

function ledgerDays(bucket: Bucket, provider: string, names: KeyNames): LedgerDay[] {
  return bucket.results.map((result) => ({
    day: timeText(bucket.start_time, false),
    model: result.model ?? '',
    key: names?.ofCall(provider, result.project_id) ?? '',
    nano: nanoOf(result.cost.amount),
    requests: result.num_requests,
    input: result.input_tokens,
    output: result.output_tokens,
    unpriced: result.num_unpriced_requests,
    cut: result.num_cut_requests,
    counted: result.num_counted_requests,
    failed: result.num_failed_requests,
  }));
}
