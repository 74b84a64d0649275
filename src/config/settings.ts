// The one table of settings: how each is called in keygate.yaml, in the environment and on the command line, what
// it may be, and what it is when nobody sets it. load.ts reads by it and docs/configuration.md is generated from it.

import { isSigningSecret } from '../notify/signature.ts';
import { readRootKey } from '../secrets/root.ts';
import {
  addressRanges,
  choice,
  count,
  file,
  folder,
  host,
  issuer,
  type Kind,
  line,
  mailbox,
  modelNames,
  origin,
  port,
  reachable,
  secret,
  shortName,
  size,
  syslogAddress,
  time,
} from './kinds.ts';
import type { Bounds, Config } from './model.ts';

export interface Setting<T> {
  /** Where it stands in keygate.yaml: `bounds.idle_timeout`. */
  readonly path: string;
  /** `KEYGATE_` and the last part of its path, unless that alone would be unclear. */
  readonly env: string;
  /** Its option of `keygate serve`; null: a secret, which other users of the machine would see there, or a bound. */
  readonly flag: string | null;
  readonly kind: Kind<T>;
  /** What it is when nobody sets it; undefined: `otherwise` says what happens then. */
  readonly standard: T | undefined;
  readonly otherwise?: string;
  /** In the environment directly or by `…_FILE`; in keygate.yaml only as a reference. */
  readonly secret: boolean;
  /** What it does, in a sentence or two. */
  readonly about: string;
}

type Described<T> = Pick<Setting<T>, 'path' | 'kind' | 'about'> & Partial<Setting<T>>;

function setting<T>(row: Described<T>): Setting<T> {
  const leaf = row.path.slice(row.path.lastIndexOf('.') + 1);
  return { env: `KEYGATE_${leaf.toUpperCase()}`, flag: null, standard: undefined, secret: false, ...row };
}

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const KB = 1024;
const MB = 1024 * KB;
const GB = 1024 * MB;

/** What each setting is once it has been read. */
export interface SettingValues extends Bounds {
  readonly host: string;
  readonly port: number;
  readonly adminHost: string;
  readonly adminPort: number;
  readonly data: string;
  readonly databaseUrl: string;
  readonly redisUrl: string;
  readonly bootstrapAdminKey: string;
  readonly rootKey: string;
  readonly previousRootKey: string;
  readonly secretsRefreshMs: number;
  readonly keyLifetimeMs: number;
  readonly trustedProxies: readonly string[];
  readonly outgoingAllowPrivate: readonly string[];
  readonly tlsCert: string;
  readonly tlsKey: string;
  readonly publicUrl: string;
  readonly dpopNonce: 'off' | 'on';
  readonly signInIssuer: string;
  readonly signInClientId: string;
  readonly signInClientSecret: string;
  readonly sessionLifetimeMs: number;
  readonly accessTokenLifetimeMs: number;
  readonly auditSyslog: URL;
  readonly auditWebhookUrl: string;
  readonly auditWebhookSecret: string;
  readonly auditRetentionMs: number;
  readonly smtpUrl: string;
  readonly smtpFrom: string;
  readonly smtpStartTls: 'required' | 'optional';
  readonly whenRedisIsAway: Config['limits']['whenRedisIsAway'];
  readonly redisTimeoutMs: number;
  readonly account: Config['spend']['account'];
  readonly unpriced: Config['spend']['unpriced'];
  readonly replyTokens: number;
  readonly unboundedReplies: Config['spend']['unboundedReplies'];
  readonly stopModels: readonly string[];
  readonly batchConcurrency: number;
  readonly batchesRunning: number;
  readonly usageRetentionMs: number;
  readonly prompts: Config['prompts']['log'];
  readonly promptsRedact: Config['prompts']['redact'];
  readonly promptsBytes: number;
  readonly promptsMs: number;
  readonly logLevel: Config['logLevel'];
  readonly node: string;
}

export type SettingName = keyof SettingValues;

export const SETTINGS: { readonly [N in SettingName]: Setting<SettingValues[N]> } = {
  host: setting({
    path: 'host',
    flag: '--host',
    kind: host,
    standard: '127.0.0.1',
    about: 'The address to listen on.',
  }),
  port: setting({
    path: 'port',
    flag: '--port',
    kind: port,
    standard: 4141,
    about: 'The port to listen on.',
  }),
  adminHost: setting({
    path: 'admin.host',
    env: 'KEYGATE_ADMIN_HOST',
    flag: '--admin-host',
    kind: host,
    otherwise: '127.0.0.1 when the administration has a port of its own',
    about: 'The address of the separate listener for administration and metrics.',
  }),
  adminPort: setting({
    path: 'admin.port',
    env: 'KEYGATE_ADMIN_PORT',
    flag: '--admin-port',
    kind: port,
    otherwise: 'one listener serves both',
    about: "A port of its own for administration and metrics, so that the API's port serves only the API.",
  }),
  data: setting({
    path: 'data',
    flag: '--data',
    kind: folder,
    standard: './.keygate',
    about: 'The folder of the embedded store, made if it is not there.',
  }),
  databaseUrl: setting({
    path: 'database_url',
    secret: true,
    kind: secret('a PostgreSQL address, such as postgres://user:password@host:5432/keygate', isPostgresUrl),
    otherwise: 'the embedded store',
    about: 'The PostgreSQL database to keep everything in, instead of the embedded store.',
  }),
  redisUrl: setting({
    path: 'redis_url',
    secret: true,
    kind: secret(
      'the address of a Valkey or Redis server, such as redis://user:password@host:6379/0 or rediss://host:6380',
      isRedisUrl,
    ),
    otherwise: 'each process keeps limits of its own',
    about: 'The Valkey or Redis server in which several nodes share their rate limits.',
  }),
  bootstrapAdminKey: setting({
    path: 'bootstrap_admin_key',
    secret: true,
    // That it is an admin key of keygate's own format is checked in load.ts, which can say what is wrong with it.
    kind: secret('an admin key as `keygate keys mint --type admin` makes it', (text) => text.length > 0),
    otherwise: 'one is made and shown at the first start',
    about:
      'An admin key of your own: the first start takes it and shows none; a later start with another one adds that, ' +
      'so that it can be rotated. A revoked one stays revoked.',
  }),
  rootKey: setting({
    path: 'secrets.root_key',
    secret: true,
    kind: secret(
      '32 random bytes in base64 or hexadecimal, as `openssl rand -base64 32` makes them',
      (text) => readRootKey(text) !== undefined,
    ),
    otherwise: '`root.key` in the data folder, made when the first secret is kept',
    about:
      'The key under which everything secret is sealed. Several nodes of one database need the same one.',
  }),
  previousRootKey: setting({
    path: 'secrets.previous_root_key',
    secret: true,
    kind: secret('32 random bytes in base64 or hexadecimal', (text) => readRootKey(text) !== undefined),
    otherwise: 'none',
    about: 'The root key before this one, while `keygate secrets rewrap` has not been run yet.',
  }),
  secretsRefreshMs: setting({
    path: 'secrets.refresh',
    env: 'KEYGATE_SECRETS_REFRESH',
    kind: time({ min: SECOND, max: DAY }),
    standard: 5 * MINUTE,
    about: 'How often secrets that are kept elsewhere (file:, vault:, aws-sm:, gcp-sm:) are read again.',
  }),
  keyLifetimeMs: setting({
    path: 'secrets.key_lifetime',
    env: 'KEYGATE_SECRETS_KEY_LIFETIME',
    kind: time({ min: SECOND, max: HOUR }),
    standard: MINUTE,
    about:
      "How long a project's key is used without its external key's service having confirmed it: the longest time from " +
      'revoking that key to the project being dark.',
  }),
  trustedProxies: setting({
    path: 'trusted_proxies',
    kind: addressRanges,
    standard: [],
    about:
      'Proxies whose `X-Forwarded-For` is believed; needed before keys can be bound to addresses behind one.',
  }),
  outgoingAllowPrivate: setting({
    path: 'outgoing.allow_private',
    env: 'KEYGATE_OUTGOING_ALLOW_PRIVATE',
    kind: reachable,
    standard: [],
    about:
      'Where webhooks, key sets, key services and other addresses that people enter may lead beside the public ' +
      'Internet; only these may also be without TLS.',
  }),
  tlsCert: setting({
    path: 'tls.cert',
    env: 'KEYGATE_TLS_CERT',
    kind: file,
    otherwise: 'connections are plain',
    about:
      'The certificate that the listeners show, with what leads to its authority, as PEM; with `tls.key`. Read again ' +
      'when it changes.',
  }),
  tlsKey: setting({
    path: 'tls.key',
    env: 'KEYGATE_TLS_KEY',
    kind: file,
    otherwise: 'connections are plain',
    about: 'The private key of `tls.cert`, as PEM.',
  }),
  publicUrl: setting({
    path: 'public_url',
    kind: origin,
    otherwise: 'what the request names as its host',
    about: 'Where clients reach this server. Proofs of keys that are bound by DPoP must be made for it.',
  }),
  dpopNonce: setting({
    path: 'dpop.nonce',
    env: 'KEYGATE_DPOP_NONCE',
    kind: choice('off', 'on'),
    standard: 'off',
    about:
      'Whether DPoP proofs must hold a nonce of the node that they are shown to, so that not even one that was caught ' +
      'in the moment of its use can be shown to another node; a client repeats its first call for it.',
  }),
  signInIssuer: setting({
    path: 'sign_in.issuer',
    env: 'KEYGATE_SIGN_IN_ISSUER',
    kind: issuer,
    otherwise: 'people use keys',
    about:
      'The OpenID Connect issuer by which people sign in with `keygate login`; with `sign_in.client_id`.',
  }),
  signInClientId: setting({
    path: 'sign_in.client_id',
    env: 'KEYGATE_SIGN_IN_CLIENT_ID',
    kind: line,
    otherwise: 'people use keys',
    about: 'The client that this keygate is to the issuer: a native one, with http://127.0.0.1 as redirect.',
  }),
  signInClientSecret: setting({
    path: 'sign_in.client_secret',
    env: 'KEYGATE_SIGN_IN_CLIENT_SECRET',
    secret: true,
    kind: secret('a client secret as the issuer gave it', (text) => text.length > 0),
    otherwise: 'the client is public, as PKCE lets it be',
    about: 'The secret of the client, for issuers that give one to native clients too.',
  }),
  sessionLifetimeMs: setting({
    path: 'sign_in.session_lifetime',
    env: 'KEYGATE_SESSION_LIFETIME',
    kind: time({ min: 5 * MINUTE, max: DAY }),
    standard: 8 * HOUR,
    about: 'How long a session lasts after somebody signed in.',
  }),
  accessTokenLifetimeMs: setting({
    path: 'access_tokens.lifetime',
    env: 'KEYGATE_ACCESS_TOKEN_LIFETIME',
    kind: time({ min: MINUTE, max: HOUR }),
    standard: HOUR,
    about:
      'How long an access token lasts that was given for a proof of identity; never longer than the proof itself.',
  }),
  auditSyslog: setting({
    path: 'audit.syslog',
    env: 'KEYGATE_AUDIT_SYSLOG',
    kind: syslogAddress,
    otherwise: 'none',
    about: 'A syslog receiver (RFC 5424) that gets every entry of the audit log, in order and at least once.',
  }),
  auditWebhookUrl: setting({
    path: 'audit.webhook_url',
    env: 'KEYGATE_AUDIT_WEBHOOK_URL',
    secret: true,
    kind: secret(
      'an address that begins with https://',
      (text) => URL.canParse(text) && /^https?:/.test(text),
    ),
    otherwise: 'none',
    about: 'A webhook that gets every entry of the audit log, in order and at least once.',
  }),
  auditWebhookSecret: setting({
    path: 'audit.webhook_secret',
    env: 'KEYGATE_AUDIT_WEBHOOK_SECRET',
    secret: true,
    kind: secret('a signing secret: whsec_ and 24 to 64 bytes in base64', isSigningSecret),
    otherwise: 'requests to it are not signed',
    about: 'What signs the requests to `audit.webhook_url`, as Standard Webhooks says.',
  }),
  auditRetentionMs: setting({
    path: 'audit.retention',
    env: 'KEYGATE_AUDIT_RETENTION',
    kind: time({ min: 30 * DAY, max: 3650 * DAY }),
    otherwise: 'for ever',
    about:
      'How long entries of the audit log are kept. The chain stays provable, and removing them is an entry itself.',
  }),
  smtpUrl: setting({
    path: 'smtp.url',
    env: 'KEYGATE_SMTP_URL',
    secret: true,
    kind: secret(
      'the address of a mail server, such as smtp://user:password@host:587 or smtps://host:465',
      isSmtpUrl,
    ),
    otherwise: 'no e-mail is sent; what is to be sent waits for 72 hours',
    about:
      'The mail server for spend alerts. `smtps://` is TLS from the start, `smtp://` goes on with STARTTLS.',
  }),
  smtpFrom: setting({
    path: 'smtp.from',
    env: 'KEYGATE_SMTP_FROM',
    kind: mailbox,
    standard: 'keygate@localhost',
    about: 'Whom e-mail comes from.',
  }),
  smtpStartTls: setting({
    path: 'smtp.starttls',
    env: 'KEYGATE_SMTP_STARTTLS',
    kind: choice('required', 'optional'),
    standard: 'required',
    about:
      'Whether e-mail is sent in the clear by a `smtp://` server that has no STARTTLS: only for a relay on this machine.',
  }),
  whenRedisIsAway: setting({
    path: 'limits.when_redis_is_away',
    env: 'KEYGATE_LIMITS_WHEN_AWAY',
    kind: choice('closed', 'open'),
    standard: 'closed',
    about:
      'What happens to calls while the Redis server is away: `closed` answers them 503, `open` lets each node keep its ' +
      'share of every limit.',
  }),
  redisTimeoutMs: setting({
    path: 'limits.redis_timeout',
    env: 'KEYGATE_LIMITS_REDIS_TIMEOUT',
    kind: time({ min: 10, max: 10 * SECOND }),
    standard: 250,
    about:
      'The longest wait of a call for the Redis server; after three in a row it counts as away, and is not waited for.',
  }),
  account: setting({
    path: 'spend.account',
    env: 'KEYGATE_SPEND_ACCOUNT',
    kind: choice('prepaid', 'postpaid'),
    standard: 'prepaid',
    about:
      'How an organization pays for its calls that did not say so itself. `postpaid`: the bills of the providers are paid, ' +
      'whatever they come to; spend limits still hold. `prepaid`: paid calls are refused until credits are granted ' +
      '(`keygate credits grant`) or it is declared post-paid (`keygate credits postpaid`). Calls of test keys, of the ' +
      'sandbox and of free models never need either.',
  }),
  unpriced: setting({
    path: 'spend.unpriced',
    env: 'KEYGATE_SPEND_UNPRICED',
    kind: choice('refuse', 'count'),
    standard: 'refuse',
    about:
      'What happens to a call of a model without a price where a hard spend limit applies: `refuse` answers it 403, ' +
      '`count` lets it through and counts it as unpriced.',
  }),
  replyTokens: setting({
    path: 'spend.reply_tokens',
    env: 'KEYGATE_SPEND_REPLY_TOKENS',
    kind: count({ min: 16, max: 1_000_000 }),
    standard: 16_384,
    about:
      'Where a hard spend limit applies and a call does not say how long its reply may be, so many tokens are reserved ' +
      'for it, and it is sent on with this bound.',
  }),
  unboundedReplies: setting({
    path: 'spend.unbounded_replies',
    env: 'KEYGATE_SPEND_UNBOUNDED_REPLIES',
    kind: choice('bound', 'stop'),
    standard: 'bound',
    about:
      'What becomes of a streamed reply that nobody bounded, where a hard spend limit applies: `bound` sends it on with ' +
      '`spend.reply_tokens`; `stop` reserves for it while it runs, and ends it (as one that reached its length) when the ' +
      'limits bear no more. `stop` needs a model whose stream shows all that it writes; others get the bound.',
  }),
  stopModels: setting({
    path: 'spend.stop_models',
    env: 'KEYGATE_SPEND_STOP_MODELS',
    kind: modelNames,
    standard: [],
    about:
      'Models whose streams show all that they write, beside the GPT-3.5 and GPT-4 families that are known for it: a model ' +
      'that reasons out of sight does not belong here.',
  }),
  usageRetentionMs: setting({
    path: 'usage_retention',
    kind: time({ min: DAY, max: 3650 * DAY }),
    standard: 90 * DAY,
    about: 'How long the record of each call is kept. The sums that reports are made of stay when it goes.',
  }),
  prompts: setting({
    path: 'logging.prompts',
    env: 'KEYGATE_LOGGING_PROMPTS',
    kind: choice('off', 'on'),
    standard: 'off',
    about:
      'Whether prompts and replies are written to the folder `prompts` of the data folder, secrets struck out; never those of ' +
      'a project whose data retention says otherwise.',
  }),
  promptsRedact: setting({
    path: 'logging.prompts_redact',
    env: 'KEYGATE_LOGGING_PROMPTS_REDACT',
    kind: choice('secrets', 'personal'),
    standard: 'secrets',
    about: 'What is struck out of them: `secrets`, or e-mail addresses and card numbers too.',
  }),
  promptsBytes: setting({
    path: 'logging.prompts_size',
    env: 'KEYGATE_LOGGING_PROMPTS_SIZE',
    kind: size({ min: MB, max: 1024 * GB }),
    standard: GB,
    about: 'The files of prompts and replies together; beyond it the oldest go.',
  }),
  promptsMs: setting({
    path: 'logging.prompts_retention',
    env: 'KEYGATE_LOGGING_PROMPTS_RETENTION',
    kind: time({ min: HOUR, max: 3650 * DAY }),
    standard: 30 * DAY,
    about: 'How long prompts and replies are kept.',
  }),
  logLevel: setting({
    path: 'log_level',
    flag: '--log-level',
    kind: choice('fatal', 'error', 'warn', 'info', 'debug'),
    standard: 'info',
    about: 'The least important kind of line that is logged.',
  }),
  node: setting({
    path: 'node',
    flag: '--node',
    kind: shortName,
    otherwise: "the machine's name",
    about: 'A short name for this node in metrics and usage records.',
  }),
  batchConcurrency: setting({
    path: 'batches.concurrency',
    env: 'KEYGATE_BATCH_CONCURRENCY',
    kind: count({ min: 1, max: 256 }),
    standard: 8,
    about: 'How many requests of one batch are under way at once on this node.',
  }),
  batchesRunning: setting({
    path: 'batches.running',
    env: 'KEYGATE_BATCHES_RUNNING',
    kind: count({ min: 1, max: 256 }),
    standard: 4,
    about: 'How many batches this node works on at once; others wait, or another node takes them.',
  }),
  headerBytes: setting({
    path: 'bounds.max_header_bytes',
    kind: size({ min: KB, max: MB }),
    standard: 64 * KB,
    about: 'All headers of a request together; more is answered 431.',
  }),
  bodyBytes: setting({
    path: 'bounds.max_body_bytes',
    kind: size({ min: KB, max: GB }),
    standard: 32 * MB,
    about: 'The body of a request; more is answered 413.',
  }),
  uploadBytes: setting({
    path: 'bounds.max_upload_bytes',
    kind: size({ min: KB, max: 16 * GB }),
    standard: 512 * MB,
    about: 'The body of a file upload; more is answered 413.',
  }),
  jsonDepth: setting({
    path: 'bounds.max_json_depth',
    kind: count({ min: 1, max: 1000 }),
    standard: 128,
    about: 'How deep objects and lists of a JSON body may nest; deeper is answered 400.',
  }),
  idleMs: setting({
    path: 'bounds.idle_timeout',
    kind: time({ min: SECOND, max: HOUR }),
    standard: MINUTE,
    about:
      'A caller that sends nothing, or takes nothing, for this long is cut off (408 if nothing was answered yet).',
  }),
  providerIdleMs: setting({
    path: 'bounds.provider_idle_timeout',
    kind: time({ min: SECOND, max: HOUR }),
    // As long as the official SDKs wait: a model that reasons before it answers, unstreamed, is silent all the while.
    standard: 10 * MINUTE,
    about:
      'A provider that sends nothing for this long is given up (504 if nothing was relayed yet). ' +
      'As long as the official SDKs wait, because a reasoning model is silent until it has thought.',
  }),
  totalMs: setting({
    path: 'bounds.total_timeout',
    kind: time({ min: SECOND, max: 24 * HOUR }),
    standard: 30 * MINUTE,
    about: 'One call from its arrival to its end; then it is answered 504, or its stream is ended.',
  }),
  connectMs: setting({
    path: 'bounds.connect_timeout',
    kind: time({ min: 100, max: 5 * MINUTE }),
    standard: 10 * SECOND,
    about: 'Connecting to a provider; then its next target is tried, or the call is answered 502.',
  }),
  inFlight: setting({
    path: 'bounds.max_in_flight',
    kind: count({ min: 1, max: 1_000_000 }),
    standard: 4096,
    about: 'Calls under way at once, over all callers; more are answered 503.',
  }),
  unrecordedEvents: setting({
    path: 'bounds.max_unrecorded_events',
    kind: count({ min: 1, max: 10_000_000 }),
    standard: 100_000,
    about:
      'Usage events that are not durable yet; beyond them calls are answered 503 rather than left unmetered.',
  }),
  drainMs: setting({
    path: 'bounds.drain_timeout',
    kind: time({ min: 0, max: HOUR }),
    standard: 30 * SECOND,
    about: 'How long a stop waits for the calls that are under way.',
  }),
};

/** Every setting, in the order of the table: `Object.keys` does not know that these are all of them. */
export const SETTING_NAMES = Object.keys(SETTINGS) as SettingName[];

/** Variables that the command line's client side or the start reads; they are no settings of the server. */
export const OTHER_VARIABLES: readonly string[] = [
  'KEYGATE_CONFIG',
  'KEYGATE_URL',
  'KEYGATE_ADMIN_KEY',
  'KEYGATE_PINNED_NODE',
  'KEYGATE_ENGINE',
];

function isPostgresUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return url.protocol === 'postgres:' || url.protocol === 'postgresql:';
}

function isRedisUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (
    (url.protocol === 'redis:' || url.protocol === 'rediss:') &&
    url.hostname !== '' &&
    /^\/?\d{0,4}$/.test(url.pathname)
  );
}

function isSmtpUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const url = new URL(text);
  return (url.protocol === 'smtp:' || url.protocol === 'smtps:') && url.hostname !== '' && url.search === '';
}

/** The settings table of docs/configuration.md. */
export function settingsTable(): string {
  const lines = [
    '| `keygate.yaml` | variable | option | default | what it is |',
    '| --- | --- | --- | --- | --- |',
  ];
  for (const name of SETTING_NAMES) lines.push(tableRow(name));
  return `${lines.join('\n')}\n`;
}

function tableRow<N extends SettingName>(name: N): string {
  const row = SETTINGS[name];
  const variable = row.secret ? `\`${row.env}\` or \`${row.env}_FILE\`` : `\`${row.env}\``;
  const flag = row.flag === null ? '' : `\`${row.flag}\``;
  const standard = row.standard === undefined ? (row.otherwise ?? '') : `\`${row.kind.show(row.standard)}\``;
  return `| \`${row.path}\` | ${variable} | ${flag} | ${standard} | ${row.about} Must be ${row.kind.allowed}. |`;
}
