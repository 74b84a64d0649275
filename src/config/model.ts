// The configuration: one frozen, typed value. load.ts makes it from the command line, KEYGATE_… variables and
// keygate.yaml, in that order of precedence; the defaults are in settings.ts.

import type { Environment } from '../keys/model.ts';
import type { Table } from '../limits/tables.ts';
import type { Reference } from '../secrets/references.ts';
import type { Secret } from '../secrets/secret.ts';
import type { PriceList } from '../spend/prices/model.ts';

export { Secret } from '../secrets/secret.ts';

/** What may not be passed by any caller or provider. Sizes in bytes, times in milliseconds. */
export interface Bounds {
  /** All request headers together. Beyond: 431. */
  readonly headerBytes: number;
  /** A request body. Beyond: 413. */
  readonly bodyBytes: number;
  /** A file upload's body. Beyond: 413. */
  readonly uploadBytes: number;
  /** Nesting of a JSON body. Beyond: 400. */
  readonly jsonDepth: number;
  /** A caller that sends, or takes, nothing for this long is cut: 408 if nothing was answered yet. */
  readonly idleMs: number;
  /** A provider that sends nothing for this long is given up: 504 if nothing was relayed yet. */
  readonly providerIdleMs: number;
  /** One call from arrival to end. Beyond: 504, or the stream is ended. */
  readonly totalMs: number;
  /** Connecting to a provider. Beyond: the next target, or 502. */
  readonly connectMs: number;
  /** Calls under way at once, over all callers. Beyond: 503. */
  readonly inFlight: number;
  /** Usage events not yet durable. Beyond: 503, because an unmetered call would be worse. */
  readonly unrecordedEvents: number;
  /** How long a stop waits for calls under way. */
  readonly drainMs: number;
}

export interface ProviderConfig {
  readonly name: string;
  /** Where the API lives, with its version path: `https://api.openai.com/v1`. */
  readonly baseUrl: URL;
  /** The provider's own credential; null for one that wants none (a local model server), or that is read later. */
  readonly credential: Secret | null;
  /** Where the credential is read from, and again, while the server runs; null: it does not change. */
  readonly credentialFrom: Reference | null;
  /** How the credential is sent. */
  readonly auth: 'bearer' | 'x-api-key' | 'api-key' | 'none';
  /** Extra headers sent with each call (`OpenAI-Organization`, `anthropic-version`). */
  readonly headers: Readonly<Record<string, string>>;
  /** Model names that it serves, exact or with a trailing `*`. Empty: only what `models` below names. */
  readonly models: readonly string[];
  /** Lower first; a model served by several providers is asked of the lowest priority that is up. */
  readonly priority: number;
  /** Connections kept to it at most. */
  readonly connections: number;
  /** Whether its address may be private or loopback: only the administrator's file can say so. */
  readonly allowPrivate: boolean;
  /** Projects of these may be served by it; null: all. */
  readonly environments: readonly Environment[] | null;
}

/** A model name of the administrator's own, and what serves it. */
export interface ModelConfig {
  readonly name: string;
  /** Projects of these may call it; null: all. */
  readonly environments: readonly Environment[] | null;
  readonly targets: readonly ModelTarget[];
}

export interface ModelTarget {
  readonly provider: string;
  /** The name that the provider knows it by. */
  readonly model: string;
  /** Share of calls among targets of the same priority. */
  readonly weight: number;
  /** Lower first; the next priority is used when every target of this one fails. */
  readonly priority: number;
}

/** What the configuration says about rate limits; rows that the Administration API edits come on top. */
export interface LimitsConfig {
  /** The default table with what the file says in its place. */
  readonly table: Table;
  /** What happens to calls while the Redis server is away: none passes, or each node keeps its share. */
  readonly whenRedisIsAway: 'closed' | 'open';
  /** The longest wait of a call for the Redis server, in milliseconds. */
  readonly redisTimeoutMs: number;
}

/** What the configuration says about money; budgets themselves are made by the Administration API. */
export interface SpendConfig {
  /** How an organization pays that did not say so itself; prepaid: by credits, before which paid calls are refused. */
  readonly account: 'prepaid' | 'postpaid';
  /** What happens to a call of a model without a price where a hard budget applies. */
  readonly unpriced: 'refuse' | 'count';
  /** Tokens of a reply to a call that does not say how long it may be, where a hard budget applies. */
  readonly replyTokens: number;
  /** A streamed reply that nobody bounded gets a bound, or is stopped when the limits bear no more. */
  readonly unboundedReplies: 'bound' | 'stop';
  /** Models whose streams show all that they write. */
  readonly stopModels: readonly string[];
  /** Prices that decide before every other list; null: none. */
  readonly prices: PriceList | null;
}

/** As whom keygate asks AWS, and at which addresses where they are not AWS's own. */
export interface AwsConfig {
  readonly keys: { readonly id: Secret; readonly secret: Secret; readonly token: Secret | null } | null;
  /** A token that the machine's platform keeps current in a file, and the role that it may take. */
  readonly webIdentity: { readonly tokenFile: string; readonly roleArn: string } | null;
  readonly region: string | null;
  readonly endpoints: Partial<Readonly<Record<'kms' | 'sts' | 's3' | 'secretsmanager', string>>>;
}

export interface GcpConfig {
  /** The JSON of a service account's key. */
  readonly serviceAccount: Secret | null;
  readonly endpoints: Partial<
    Readonly<Record<'kms' | 'sts' | 'storage' | 'secretmanager' | 'token', string>>
  >;
}

export interface AzureConfig {
  readonly clientId: string | null;
  /** Null: keygate's own tokens, which the application trusts, if it has an issuer. */
  readonly clientSecret: Secret | null;
  readonly tenantId: string | null;
  readonly endpoints: Partial<Readonly<Record<'login' | 'vault' | 'blob', string>>>;
}

export interface OciConfig {
  readonly tenancy: string;
  readonly user: string;
  readonly fingerprint: string;
  /** PEM. */
  readonly privateKey: Secret;
  readonly endpoints: Partial<Readonly<Record<'kms' | 'storage', string>>>;
}

/** Vault or OpenBao. */
export interface VaultConfig {
  readonly address: string;
  readonly token: Secret;
  readonly namespace: string | null;
}

export interface CloudsConfig {
  readonly aws: AwsConfig;
  readonly gcp: GcpConfig;
  readonly azure: AzureConfig;
  readonly oci: OciConfig | null;
  readonly vault: VaultConfig | null;
  /** What stands as `iss` in the tokens by which keygate shows clouds who it is; null: it makes none. */
  readonly issuer: string | null;
}

/** What the configuration says about secrets. */
export interface SecretsConfig {
  /** Null: the file `root.key` in the data folder. */
  readonly rootKey: Secret | null;
  readonly previousRootKey: Secret | null;
  /** How often secrets that are kept elsewhere are read again, in milliseconds. */
  readonly refreshMs: number;
  /** How long a project's unwrapped key is used without its external key's word, in milliseconds. */
  readonly keyLifetimeMs: number;
}

/** What the configuration says about identity beyond the key. */
export interface IdentityConfig {
  /** The longest life of an access token, in milliseconds. */
  readonly accessTokenLifetimeMs: number;
  /** Whether DPoP proofs must hold a nonce of this node's. */
  readonly dpopNonce: boolean;
  /** How people sign in; null: they do not. */
  readonly signIn: SignInConfig | null;
}

export interface SignInConfig {
  readonly issuer: string;
  readonly clientId: string;
  readonly clientSecret: Secret | null;
  /** Milliseconds. */
  readonly sessionLifetimeMs: number;
}

/** Files with what the listeners show, as PEM. */
export interface TlsConfig {
  readonly cert: string;
  readonly key: string;
}

/** Where the audit log goes beside the store, and how long it stays. */
export interface AuditConfig {
  /** tls://, tcp:// or udp://; null: none. */
  readonly syslog: URL | null;
  readonly webhookUrl: Secret | null;
  readonly webhookSecret: Secret | null;
  /** Milliseconds; null: for ever. */
  readonly retentionMs: number | null;
}

/** How e-mail is sent. */
export interface SmtpConfig {
  /** smtp[s]://user:password@host:port; null: none is sent. */
  readonly url: Secret | null;
  readonly from: string;
  readonly startTls: 'required' | 'optional';
}

/** What the configuration says about logging prompts and replies. */
export interface PromptsConfig {
  /** Off: nothing of them is written anywhere. */
  readonly log: 'off' | 'on';
  /** E-mail addresses and card numbers are struck out too, beside secrets. */
  readonly redact: 'secrets' | 'personal';
  /** All files together, in bytes. */
  readonly bytes: number;
  /** How long a line is kept, in milliseconds. */
  readonly ms: number;
}

/** How batches run on this node. */
export interface BatchesConfig {
  /** Lines of one batch under way at once. */
  readonly concurrency: number;
  /** Batches under work at once. */
  readonly running: number;
}

export interface Config {
  readonly host: string;
  readonly port: number;
  /** A separate listener for administration and metrics; null: both are on the one listener. */
  readonly admin: { readonly host: string; readonly port: number } | null;
  readonly dataDir: string;
  readonly databaseUrl: Secret | null;
  /** The Valkey or Redis server in which nodes share their rate limits; null: each process keeps its own. */
  readonly redisUrl: Secret | null;
  readonly bootstrapAdminKey: Secret | null;
  /** Addresses whose `X-Forwarded-For` is believed, as CIDR ranges. */
  readonly trustedProxies: readonly string[];
  readonly audit: AuditConfig;
  readonly smtp: SmtpConfig;
  /** Where addresses that people enter may lead beside the public Internet: CIDR ranges and host names. */
  readonly outgoing: { readonly allowPrivate: readonly string[] };
  /** Null: connections are plain. */
  readonly tls: TlsConfig | null;
  /** Where clients reach this server; null: as their requests say. */
  readonly publicUrl: string | null;
  readonly identity: IdentityConfig;
  readonly bounds: Bounds;
  readonly providers: readonly ProviderConfig[];
  readonly models: readonly ModelConfig[];
  readonly limits: LimitsConfig;
  readonly spend: SpendConfig;
  readonly batches: BatchesConfig;
  readonly secrets: SecretsConfig;
  readonly clouds: CloudsConfig;
  /** How long the usage record of each call is kept, in milliseconds; what reports are made of stays. */
  readonly usageRetentionMs: number;
  readonly prompts: PromptsConfig;
  readonly logLevel: 'fatal' | 'error' | 'warn' | 'info' | 'debug';
  /** A short name for this node in metrics and usage records. */
  readonly node: string;
}
