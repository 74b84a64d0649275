// Makes the configuration: command-line options before KEYGATE_… variables before keygate.yaml before the defaults,
// one frozen value, or one SetupError that tells everything that is wrong. It reads no clock and no network; files
// and the environment are given to it.

import { dirname, resolve } from 'node:path';
import { parseKey } from '../keys/format.ts';
import { SetupError } from '../platform/errors.ts';
import { readClouds } from './clouds.ts';
import { type FileConfig, NO_FILE, parseFile } from './file.ts';
import { deepFreeze } from './freeze.ts';
import { readLimits } from './limits.ts';
import type { Bounds, Config, ProviderConfig, Secret } from './model.ts';
import { noticeExposure, noticeSharedCredentials, noticeUnknownVariables, SERVICE_LINK } from './notices.ts';
import { readPrices } from './prices.ts';
import { Problems } from './problems.ts';
import { isKeygateKey, openAiProvider, readModels, readProviders } from './providers.ts';
import { type Origins, SettingReader } from './reader.ts';
import { type Surroundings, secretFromEnvironment, whyUnreadable } from './secrets.ts';
import type { SettingName } from './settings.ts';

export interface LoadInput {
  /** Values of command-line options by setting: `{ port: '5000' }`. */
  readonly flags?: Partial<Readonly<Record<SettingName, string>>>;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The text of a file; throws as `fs.readFileSync` does. */
  readonly readFile: (path: string) => string;
  /** The file that `--config` names. Else KEYGATE_CONFIG, else ./keygate.yaml if it is there. */
  readonly file?: string | undefined;
  /** What relative paths of the command line and the environment count from. */
  readonly cwd: string;
  /** The machine's name, for `node` when nobody sets it. */
  readonly hostname: string;
}

export interface Loaded {
  readonly config: Config;
  /** What the administrator should know and nobody asked for: one sentence each, for the log. */
  readonly notices: readonly string[];
  readonly origins: Origins;
}

/** @throws SetupError one sentence a line; none holds a secret */
export function loadConfig(input: LoadInput): Loaded {
  const { file, name, path } = readConfigFile(input);
  const from: Surroundings = {
    env: input.env,
    readFile: (wanted) => input.readFile(resolve(input.cwd, wanted)),
    resolve: (wanted) => resolve(path === undefined ? input.cwd : dirname(path), wanted),
  };
  const problems = new Problems();
  const notices: string[] = [];
  const settings = new SettingReader(input, file, name, from, problems);
  const value = <N extends SettingName>(of: N) => settings.value(of);
  if (settings.serviceLink) notices.push(SERVICE_LINK);

  const adminPort = value('adminPort');
  const adminHost = value('adminHost');
  if (adminPort === undefined && adminHost !== undefined) {
    problems.add(
      'admin.host (KEYGATE_ADMIN_HOST) is set without admin.port (KEYGATE_ADMIN_PORT): set both, or none.',
    );
  }
  const host = value('host') ?? '';
  const port = value('port') ?? 0;
  if (adminPort === port && port !== 0 && (adminHost ?? '127.0.0.1') === host) {
    problems.add(`port and admin.port are both ${port} on ${host}: give the administration another port.`);
  }
  const bounds = readBounds(value);
  const bootstrapAdminKey = settings.secret('bootstrapAdminKey');
  if (bootstrapAdminKey) checkAdminKey(bootstrapAdminKey, settings.place('bootstrapAdminKey'), problems);
  const providers =
    file.providers === undefined
      ? providersOfEnvironment(input.env, from, problems, notices)
      : readProviders(file.providers, name, from, problems);
  const known = file.providers === undefined ? providers.map((one) => one.name) : Object.keys(file.providers);

  const config: Config = {
    host,
    port,
    admin: adminPort === undefined ? null : { host: adminHost ?? '127.0.0.1', port: adminPort },
    dataDir: settings.path('data'),
    databaseUrl: settings.secret('databaseUrl'),
    redisUrl: settings.secret('redisUrl'),
    bootstrapAdminKey,
    trustedProxies: value('trustedProxies') ?? [],
    audit: {
      syslog: value('auditSyslog') ?? null,
      webhookUrl: settings.secret('auditWebhookUrl'),
      webhookSecret: settings.secret('auditWebhookSecret'),
      retentionMs: value('auditRetentionMs') ?? null,
    },
    smtp: {
      url: settings.secret('smtpUrl'),
      from: value('smtpFrom') ?? '',
      startTls: value('smtpStartTls') ?? 'required',
    },
    outgoing: { allowPrivate: value('outgoingAllowPrivate') ?? [] },
    tls: readTls(settings, problems),
    publicUrl: value('publicUrl') ?? null,
    identity: {
      accessTokenLifetimeMs: value('accessTokenLifetimeMs') ?? 0,
      dpopNonce: value('dpopNonce') === 'on',
      signIn: readSignIn(settings, problems),
    },
    bounds,
    providers,
    models: readModels(file.models, known, name, problems),
    limits: {
      table: readLimits(file.limits, name, problems),
      whenRedisIsAway: value('whenRedisIsAway') ?? 'closed',
      redisTimeoutMs: value('redisTimeoutMs') ?? 250,
    },
    spend: {
      account: value('account') ?? 'prepaid',
      unpriced: value('unpriced') ?? 'refuse',
      replyTokens: value('replyTokens') ?? 0,
      unboundedReplies: value('unboundedReplies') ?? 'bound',
      stopModels: value('stopModels') ?? [],
      prices: readPrices(file.prices, name, problems),
    },
    secrets: {
      rootKey: settings.secret('rootKey'),
      previousRootKey: settings.secret('previousRootKey'),
      refreshMs: value('secretsRefreshMs') ?? 0,
      keyLifetimeMs: value('keyLifetimeMs') ?? 0,
    },
    clouds: readClouds(file.clouds, name, from, problems),
    batches: { concurrency: value('batchConcurrency') ?? 1, running: value('batchesRunning') ?? 1 },
    // 0 stands in for a refused value only until the problems are thrown.
    usageRetentionMs: value('usageRetentionMs') ?? 0,
    prompts: {
      log: value('prompts') ?? 'off',
      redact: value('promptsRedact') ?? 'secrets',
      bytes: value('promptsBytes') ?? 0,
      ms: value('promptsMs') ?? 0,
    },
    logLevel: value('logLevel') ?? 'info',
    node: value('node') ?? nodeName(input.hostname),
  };
  problems.throwIfAny();
  noticeExposure(config, notices);
  noticeSharedCredentials(config, notices);
  noticeUnknownVariables(input.env, notices);
  return deepFreeze({ config, notices, origins: settings.origins() });
}

function readConfigFile(input: LoadInput): { file: FileConfig; name: string; path: string | undefined } {
  const named = input.file ?? input.env['KEYGATE_CONFIG'];
  const by = input.file === undefined ? 'KEYGATE_CONFIG' : '--config';
  if (named?.trim() === '')
    throw new SetupError(`${by} is empty: give the path of the file, or leave it out.`);
  const name = named ?? 'keygate.yaml';
  const path = resolve(input.cwd, name);
  let source: string;
  try {
    source = input.readFile(path);
  } catch (error) {
    const why = whyUnreadable(error);
    if (named === undefined && why === 'does not exist') return { file: NO_FILE, name, path: undefined };
    throw new SetupError(
      named === undefined
        ? `keygate.yaml is here but ${why}: mend that, or move it away.`
        : `${by} names a file that ${why}: ${JSON.stringify(name)}.`,
    );
  }
  return { file: parseFile(source, name), name, path };
}

/** Both files or neither: one alone would silently leave connections plain. */
function readTls(settings: SettingReader, problems: Problems): Config['tls'] {
  const [cert, key] = [settings.value('tlsCert'), settings.value('tlsKey')];
  if (cert === undefined && key === undefined) return null;
  if (cert === undefined || key === undefined) {
    problems.add('tls.cert and tls.key belong together: set both, or neither.');
    return null;
  }
  return { cert: settings.path('tlsCert'), key: settings.path('tlsKey') };
}

function readSignIn(settings: SettingReader, problems: Problems): Config['identity']['signIn'] {
  const [issuer, clientId] = [settings.value('signInIssuer'), settings.value('signInClientId')];
  const clientSecret = settings.secret('signInClientSecret');
  if (issuer === undefined && clientId === undefined) return null;
  if (issuer === undefined || clientId === undefined) {
    problems.add('sign_in.issuer and sign_in.client_id belong together: set both, or neither.');
    return null;
  }
  return { issuer, clientId, clientSecret, sessionLifetimeMs: settings.value('sessionLifetimeMs') ?? 0 };
}

function readBounds(value: (name: keyof Bounds) => number | undefined): Bounds {
  // 0 stands in for a refused value only until the problems are thrown.
  const bound = (name: keyof Bounds): number => value(name) ?? 0;
  return {
    headerBytes: bound('headerBytes'),
    bodyBytes: bound('bodyBytes'),
    uploadBytes: bound('uploadBytes'),
    jsonDepth: bound('jsonDepth'),
    idleMs: bound('idleMs'),
    providerIdleMs: bound('providerIdleMs'),
    totalMs: bound('totalMs'),
    connectMs: bound('connectMs'),
    inFlight: bound('inFlight'),
    unrecordedEvents: bound('unrecordedEvents'),
    drainMs: bound('drainMs'),
  };
}

function checkAdminKey(key: Secret, place: string, problems: Problems): void {
  const parsed = parseKey(key.reveal());
  if (parsed.ok && parsed.type === 'admin') return;
  const why = parsed.ok
    ? `a ${parsed.type.replace('_', '-')} key`
    : parsed.reason === 'checksum'
      ? 'a key with a wrong character in it: copy it again'
      : "no key of keygate's format";
  problems.add(
    `${place} must lead to an admin key, as \`keygate keys mint --type admin\` makes one; it is ${why}.`,
  );
}

/** Without providers in the file: OpenAI, when the server's environment has its key; else only the sandbox. */
function providersOfEnvironment(
  env: LoadInput['env'],
  from: Surroundings,
  problems: Problems,
  notices: string[],
): ProviderConfig[] {
  const credential = secretFromEnvironment('OPENAI_API_KEY', from, problems);
  if (!credential) return [];
  if (isKeygateKey(credential.reveal())) {
    notices.push(
      'OPENAI_API_KEY holds a key that a keygate issued, which is for clients: it is ignored, and only the sandbox ' +
        'answers. To reach OpenAI, start the server with the key that OpenAI gave you.',
    );
    return [];
  }
  if (env['OPENAI_BASE_URL'] !== undefined) {
    notices.push(
      'OPENAI_BASE_URL is for clients and is not used by the server: calls go to https://api.openai.com/v1. ' +
        'To reach another address, name a provider in keygate.yaml.',
    );
  }
  return [openAiProvider(credential)];
}

function nodeName(hostname: string): string {
  return hostname.replace(/[^A-Za-z0-9._-]/g, '-').slice(0, 63) || 'node';
}
