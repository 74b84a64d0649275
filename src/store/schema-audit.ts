// The tables beside the audit log itself (schema.ts).

export interface AuditTables {
  audit_subjects: AuditSubjectTable;
  audit_streams: AuditStreamTable;
}

/** Whom and what an entry is about, for filters: one row for each. */
export interface AuditSubjectTable {
  kind: 'actor' | 'email' | 'resource';
  value: string;
  seq: number;
}

/** How far a stream of the log has come. */
export interface AuditStreamTable {
  name: string;
  /** Every entry up to this one was taken. */
  seq: number;
  updated_at: number;
  last_error: string | null;
}
