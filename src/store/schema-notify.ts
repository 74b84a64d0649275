// The tables of telling others: leases, webhook endpoints and the outbox.

export interface NotifyTables {
  leases: LeaseTable;
  webhook_endpoints: WebhookEndpointTable;
  deliveries: DeliveryTable;
}

/** Which node does what only one may do at a time. */
export interface LeaseTable {
  name: string;
  holder: string;
  until: number;
}

export interface WebhookEndpointTable {
  id: string;
  organization_id: string;
  /** Null: told of the whole organization. */
  project_id: string | null;
  name: string;
  url: string;
  /** JSON list. */
  event_types: string;
  /** Sealed: never the signing secret itself. */
  secret: Uint8Array;
  secret_hint: string;
  /** Sealed; signs beside the new one until `old_secret_until`. */
  old_secret: Uint8Array | null;
  old_secret_until: number | null;
  created_at: number;
  updated_at: number;
}

/** The outbox: one row for each message to each recipient. */
export interface DeliveryTable {
  id: string;
  organization_id: string;
  project_id: string | null;
  channel: 'webhook' | 'email';
  /** The endpoint's id, or the address. */
  target: string;
  event_id: string;
  event_type: string;
  /** The request's body as it is signed; of an e-mail, JSON of subject and text. */
  body: string;
  state: 'waiting' | 'sent' | 'dead';
  attempts: number;
  /** Null when it is over. */
  next_at: number | null;
  /** Why the last attempt failed, without any secret. */
  last_error: string | null;
  created_at: number;
  ended_at: number | null;
}
