// Entries of the audit log as commands read them: from the server's export, or from a file that holds one.

import { z } from 'zod';
import type { Hidden } from '../audit/check.ts';
import type { AuditTable } from '../store/schema.ts';
import { CommandError, EXIT } from './exit.ts';

export const AuditEntry = z.looseObject({
  seq: z.int(),
  id: z.string(),
  type: z.string(),
  at: z.number(),
  organization_id: z.string(),
  project_id: z.string().nullable(),
  actor: z.looseObject({}),
  payload: z.looseObject({}),
  previous_hash: z.string(),
  hash: z.string(),
});
const HiddenEntry = z.object({ seq: z.int(), previous_hash: z.string(), hash: z.string() });

/** A line as the chain was hashed: objects are texts again, in the order in which they were written. */
export function chainRow(line: string, where: string): AuditTable | Hidden {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    value = null;
  }
  const entry = AuditEntry.safeParse(value);
  if (entry.success) {
    const { seq, id, type, at, organization_id, project_id, previous_hash, hash } = entry.data;
    // As it was parsed, and not as the schema gives it back: the order of its names is part of the hash.
    const { actor, payload } = value as { actor: unknown; payload: unknown };
    return {
      seq,
      id,
      at,
      organization_id,
      project_id,
      type,
      actor: JSON.stringify(actor),
      payload: JSON.stringify(payload),
      previous_hash,
      hash,
    };
  }
  const hidden = HiddenEntry.safeParse(value);
  if (hidden.success) return hidden.data;
  throw new CommandError(
    EXIT.usage,
    `${where} is no entry of an audit log: it is JSON lines from \`keygate audit export\`.`,
  );
}
