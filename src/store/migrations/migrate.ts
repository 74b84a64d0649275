// Brings the tables to this version of keygate: forward only, in order, all pending steps or none, under a lock that
// lets one node at a time do it. What was done is a list in the database (table keygate_migration); it must be the
// beginning of the list here, or the database is of a newer keygate, or was altered, and is refused untouched.

import { type Kysely, sql } from 'kysely';
import { type Migration, Migrator } from 'kysely/migration';
import { SetupError } from '../../platform/errors.ts';
import type { Db, Store } from '../store.ts';
import { up as tables } from './0001-tables.ts';
import { up as money } from './0010-money.ts';
import { up as limits } from './0020-limits.ts';
import { up as usage } from './0030-usage.ts';
import { up as spendAlerts } from './0040-spend-alerts.ts';
import { up as notify } from './0050-notify.ts';
import { up as audit } from './0051-audit.ts';
import { up as credits } from './0060-credits.ts';
import { up as files } from './0070-files.ts';
import { up as usagePartitions } from './0071-usage-partitions.ts';
import { up as access } from './0080-access.ts';
import { up as settings } from './0090-settings.ts';
import { up as workloadIdentity } from './0100-workload-identity.ts';
import { up as confirmation } from './0101-confirmation.ts';
import { up as certificates } from './0102-certificates.ts';
import { up as sessions } from './0103-sessions.ts';
import { up as secrets } from './0110-secrets.ts';
import { up as signingKeys } from './0111-signing-keys.ts';
import { up as externalKeys } from './0112-external-keys.ts';
import { up as externalStorage } from './0113-external-storage.ts';

const TABLE = 'keygate_migration';

/** In order, by name. Once released, a step is never changed: a correction is a new step. */
export const STEPS: Steps = {
  '0001_tables': tables,
  '0010_money': money,
  '0020_limits': limits,
  '0030_usage': usage,
  '0040_spend_alerts': spendAlerts,
  '0050_notify': notify,
  '0051_audit': audit,
  '0060_credits': credits,
  '0070_files': files,
  '0071_usage_partitions': usagePartitions,
  '0080_access': access,
  '0090_settings': settings,
  '0100_workload_identity': workloadIdentity,
  '0101_confirmation': confirmation,
  '0102_certificates': certificates,
  '0103_sessions': sessions,
  '0110_secrets': secrets,
  '0111_signing_keys': signingKeys,
  '0112_external_keys': externalKeys,
  '0113_external_storage': externalStorage,
};

export type Steps = Readonly<Record<string, (db: Kysely<unknown>, kind: Store['kind']) => Promise<void>>>;

/** Throws SetupError when the database is of a newer version, altered or not keygate's, and when a step fails. */
export async function migrate(db: Db, kind: Store['kind'], steps = STEPS): Promise<void> {
  refuseOtherHistory(await applied(db, kind), Object.keys(steps).sort());
  const migrations: Record<string, Migration> = {};
  for (const [name, up] of Object.entries(steps)) migrations[name] = { up: (db) => up(db, kind) };
  const migrator = new Migrator({
    db,
    provider: { getMigrations: async () => migrations },
    // Named, because Kysely would otherwise take the list of another schema of the same database for ours.
    ...(kind === 'postgres' && { migrationTableSchema: await currentSchema(db) }),
    migrationTableName: TABLE,
    migrationLockTableName: `${TABLE}_lock`,
  });
  const { error, results } = await migrator.migrateToLatest();
  if (error === undefined) return;
  // Another node may have brought it further between our look and our turn.
  refuseOtherHistory(await applied(db, kind), Object.keys(steps).sort());
  const failed = results?.find((result) => result.status === 'Error')?.migrationName;
  throw new SetupError(
    `The database could not be brought to this version${failed ? ` (step ${failed})` : ''}: ${reason(error)} ` +
      'Nothing of it was kept. keygate wants a database, or a schema, of its own.',
  );
}

async function currentSchema(db: Db): Promise<string> {
  const { rows } = await sql<{ name: string | null }>`select current_schema() as name`.execute(db);
  const name = rows[0]?.name;
  if (typeof name === 'string') return name;
  throw new SetupError(
    'The search_path of KEYGATE_DATABASE_URL names no schema that exists: create it, or correct the URL.',
  );
}

async function applied(db: Db, kind: Store['kind']): Promise<string[]> {
  const exists =
    kind === 'sqlite'
      ? sql<{ found: number }>`select count(*) as found from sqlite_schema where name = ${TABLE}`
      : sql<{ found: number }>`select count(*) as found from pg_class where oid = to_regclass(${TABLE})`;
  if ((await exists.execute(db)).rows[0]?.found !== 1) return [];
  const { rows } = await sql<{ name: string }>`select name from ${sql.table(TABLE)} order by name`.execute(
    db,
  );
  return rows.map(({ name }) => name);
}

function refuseOtherHistory(done: readonly string[], known: readonly string[]): void {
  for (const [index, name] of done.entries()) {
    if (name === known[index]) continue;
    if (index >= known.length) {
      throw new SetupError(
        `The database was written by a newer version of keygate (it has step ${name}, this version ends with ` +
          `${known.at(-1)}). Start that version or a later one; a database never goes back.`,
      );
    }
    throw new SetupError(
      `The history of the database differs from keygate's: it has step ${name} where ${known[index]} belongs. ` +
        'It was altered, or is not keygate’s; restore a backup or name another database.',
    );
  }
}

function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.endsWith('.') ? text : `${text}.`;
}
