// The tables of secrets, external keys and external storage, as Kysely sees them.

export interface SecretsTables {
  root_keys: RootKeyTable;
  sealed_secrets: SealedSecretTable;
  sealed_keys: SealedKeyTable;
  external_keys: ExternalKeyTable;
  content_keys: ContentKeyTable;
  external_storage: ExternalStorageTable;
}

/** Which root keys seal this store: ids only, the keys themselves are never here. */
export interface RootKeyTable {
  /** 32 hexadecimal digits. */
  id: string;
  created_at: number;
  /** 1 for the one that seals. */
  current: 0 | 1;
}

/** Named secrets, sealed. */
export interface SealedSecretTable {
  id: string;
  organization_id: string;
  /** Null: the installation's, which keygate.yaml names as `sealed:NAME`; else one project's. */
  project_id: string | null;
  name: string;
  sealed: Uint8Array;
  /** Counts its values: 1 when it was first set. */
  version: number;
  created_at: number;
  updated_at: number;
}

/** Keys that this installation signs with, sealed: one of each name. */
export interface SealedKeyTable {
  name: string;
  id: string;
  sealed: Uint8Array;
  created_at: number;
}

/** Keys in customers' own key services. */
export interface ExternalKeyTable {
  id: string;
  organization_id: string;
  name: string;
  type: 'aws' | 'gcp' | 'azure' | 'oci' | 'vault';
  purpose: 'ekm' | 'psp_decryption';
  /** JSON: what leads to the key, by its type. */
  config: string;
  created_at: number;
}

/** Keys of projects' content. */
export interface ContentKeyTable {
  /** 32 hexadecimal digits. */
  id: string;
  organization_id: string;
  project_id: string;
  external_key_id: string;
  /** The key as its external key wrapped it, sealed with the root key. */
  wrapped: Uint8Array;
  created_at: number;
}

/** Customers' buckets for projects' content. */
export interface ExternalStorageTable {
  id: string;
  organization_id: string;
  project_id: string;
  type: 'aws' | 'azure' | 'gcp' | 'oci';
  /** JSON: what leads to the bucket, by its type. */
  config: string;
  /** `unknown` until it is validated, where the cloud tells. */
  region: string;
  status: 'pending' | 'validated' | 'degraded' | 'unhealthy';
  created_at: number;
}
