// The tables of identity beyond the key: workload identity, certificates, sign-in.

export interface IdentityTables {
  workload_identity_providers: WorkloadProviderTable;
  federation_rules: FederationRuleTable;
  token_keys: TokenKeyTable;
  spent_subject_tokens: SpentSubjectTokenTable;
  certificates: CertificateTable;
  active_certificates: ActiveCertificateTable;
  user_identities: UserIdentityTable;
  sessions: SessionTable;
}

/** Who a user is to an issuer. */
export interface UserIdentityTable {
  organization_id: string;
  user_id: string;
  issuer: string;
  subject: string;
  created_at: number;
}

export interface SessionTable {
  id: string;
  organization_id: string;
  user_id: string;
  /** SHA-256 of the session key. */
  digest: Uint8Array;
  created_at: number;
  expires_at: number;
}

/** A certificate of an authority whose client certificates are accepted where it is active. */
export interface CertificateTable {
  id: string;
  organization_id: string;
  name: string | null;
  /** PEM. */
  content: string;
  /** SHA-256, hexadecimal. */
  fingerprint: string;
  valid_at: number;
  expires_at: number;
  created_at: number;
}

export interface ActiveCertificateTable {
  organization_id: string;
  certificate_id: string;
  /** Empty: in the organization. */
  project_id: string;
}

/** An issuer whose tokens, or the certificates of whose authorities, become access tokens. */
export interface WorkloadProviderTable {
  id: string;
  organization_id: string;
  name: string;
  description: string | null;
  type: 'oidc' | 'x509';
  /** Empty for X.509. */
  issuer: string;
  audience: string;
  enabled: 0 | 1;
  /** JSON list of {attribute, expression}. */
  transformations: string;
  verification: 'discovery' | 'uploaded_jwks' | 'certificates';
  discovery_url: string | null;
  /** JSON Web Key Set, public keys only. */
  jwks: string | null;
  single_use: 0 | 1;
  /** The longest life (exp minus iat) of a subject token, in seconds. */
  max_lifetime: number;
  /** Counts up when what decides about a token changes: tokens of an older generation end. */
  generation: number;
  created_at: number;
  updated_at: number;
}

/** What a verified token must say to become an access token of a service account. */
export interface FederationRuleTable {
  id: string;
  organization_id: string;
  provider_id: string;
  project_id: string;
  service_account_id: string;
  name: string | null;
  description: string | null;
  enabled: 0 | 1;
  /** JSON object: attribute to the exact value. */
  matchers: string;
  /** JSON list; null: what the service account may do. */
  scopes: string | null;
  generation: number;
  created_at: number;
  updated_at: number;
}

/** Public halves of the keys that nodes sign access tokens with; the private halves never leave a node's memory. */
export interface TokenKeyTable {
  id: string;
  /** Ed25519 as SPKI, base64. */
  public_key: string;
  created_at: number;
  /** When the last token that it signed has expired. */
  expires_at: number;
}

/** Subject tokens that were exchanged and may not be again. */
export interface SpentSubjectTokenTable {
  /** SHA-256 of provider and token id, hexadecimal. */
  digest: string;
  expires_at: number;
}
