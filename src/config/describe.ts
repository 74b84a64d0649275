// The effective configuration for people and programs: every setting with its value and where that came from, every
// provider and model. Secrets are told as set or not set, never shown.

import type { Environment } from '../keys/model.ts';
import type { Loaded } from './load.ts';
import type { Config, ProviderConfig } from './model.ts';
import { SETTING_NAMES, SETTINGS, type Setting, type SettingName } from './settings.ts';

export interface SettingRow {
  /** Its place in keygate.yaml. */
  readonly setting: string;
  /** As a person would write it; `[redacted]` for a secret that is set, null for what is not set. */
  readonly value: string | null;
  /** `--port`, `KEYGATE_PORT`, the file's name or `default`. */
  readonly from: string;
}

export interface ProviderRow {
  readonly name: string;
  readonly base_url: string;
  readonly credential: '[redacted]' | 'none';
  readonly models: readonly string[];
  readonly priority: number;
  /** Null: projects of every environment. */
  readonly environments: readonly Environment[] | null;
}

export interface ModelRow {
  readonly name: string;
  readonly targets: readonly string[];
  readonly environments: readonly Environment[] | null;
}

export interface Described {
  readonly settings: readonly SettingRow[];
  readonly providers: readonly ProviderRow[];
  readonly models: readonly ModelRow[];
  readonly notices: readonly string[];
}

export function describe({ config, notices, origins }: Loaded): Described {
  return {
    settings: SETTING_NAMES.map((name) => ({
      setting: SETTINGS[name].path,
      value: settingText(name, config),
      from: origins[name],
    })),
    providers: config.providers.map(provider),
    models: config.models.map(({ name, targets, environments }) => ({
      name,
      environments,
      targets: targets.map(
        (target) =>
          `${target.provider}/${target.model} (weight ${target.weight}, priority ${target.priority})`,
      ),
    })),
    notices,
  };
}

function provider(config: ProviderConfig): ProviderRow {
  const { name, baseUrl, auth, models, priority, environments } = config;
  return {
    name,
    base_url: baseUrl.href,
    credential: auth === 'none' ? 'none' : '[redacted]',
    models,
    priority,
    environments,
  };
}

function settingText(name: SettingName, config: Config): string | null {
  const show = <T>(row: Setting<T>, value: T | undefined) =>
    value === undefined ? null : row.kind.show(value);
  switch (name) {
    case 'host':
    case 'port':
    case 'node':
    case 'logLevel':
      return String(config[name]);
    case 'adminHost':
      return show(SETTINGS.adminHost, config.admin?.host);
    case 'adminPort':
      return show(SETTINGS.adminPort, config.admin?.port);
    case 'data':
      return config.dataDir;
    case 'databaseUrl':
    case 'redisUrl':
    case 'bootstrapAdminKey':
      return config[name] === null ? null : '[redacted]';
    case 'rootKey':
    case 'previousRootKey':
      return config.secrets[name] === null ? null : '[redacted]';
    case 'secretsRefreshMs':
      return show(SETTINGS.secretsRefreshMs, config.secrets.refreshMs);
    case 'keyLifetimeMs':
      return show(SETTINGS.keyLifetimeMs, config.secrets.keyLifetimeMs);
    case 'prompts':
      return config.prompts.log;
    case 'promptsRedact':
      return config.prompts.redact;
    case 'promptsBytes':
      return show(SETTINGS.promptsBytes, config.prompts.bytes);
    case 'promptsMs':
      return show(SETTINGS.promptsMs, config.prompts.ms);
    case 'usageRetentionMs':
      return show(SETTINGS.usageRetentionMs, config.usageRetentionMs);
    case 'batchConcurrency':
      return String(config.batches.concurrency);
    case 'batchesRunning':
      return String(config.batches.running);
    case 'whenRedisIsAway':
      return config.limits.whenRedisIsAway;
    case 'redisTimeoutMs':
      return show(SETTINGS.redisTimeoutMs, config.limits.redisTimeoutMs);
    case 'account':
      return config.spend.account;
    case 'unpriced':
      return config.spend.unpriced;
    case 'unboundedReplies':
      return config.spend.unboundedReplies;
    case 'stopModels':
      return show(SETTINGS.stopModels, config.spend.stopModels);
    case 'replyTokens':
      return String(config.spend.replyTokens);
    case 'trustedProxies':
      return show(SETTINGS.trustedProxies, config.trustedProxies);
    case 'tlsCert':
      return show(SETTINGS.tlsCert, config.tls?.cert);
    case 'tlsKey':
      return show(SETTINGS.tlsKey, config.tls?.key);
    case 'publicUrl':
      return config.publicUrl;
    case 'dpopNonce':
      return config.identity.dpopNonce ? 'on' : 'off';
    case 'signInIssuer':
      return show(SETTINGS.signInIssuer, config.identity.signIn?.issuer);
    case 'signInClientId':
      return show(SETTINGS.signInClientId, config.identity.signIn?.clientId);
    case 'signInClientSecret':
      return config.identity.signIn?.clientSecret == null ? null : '[redacted]';
    case 'sessionLifetimeMs':
      return show(SETTINGS.sessionLifetimeMs, config.identity.signIn?.sessionLifetimeMs);
    case 'accessTokenLifetimeMs':
      return show(SETTINGS.accessTokenLifetimeMs, config.identity.accessTokenLifetimeMs);
    case 'auditSyslog':
      return show(SETTINGS.auditSyslog, config.audit.syslog ?? undefined);
    case 'auditWebhookUrl':
      return config.audit.webhookUrl === null ? null : '[redacted]';
    case 'auditWebhookSecret':
      return config.audit.webhookSecret === null ? null : '[redacted]';
    case 'auditRetentionMs':
      return show(SETTINGS.auditRetentionMs, config.audit.retentionMs ?? undefined);
    case 'smtpUrl':
      return config.smtp.url === null ? null : '[redacted]';
    case 'smtpFrom':
      return config.smtp.from;
    case 'smtpStartTls':
      return config.smtp.startTls;
    case 'outgoingAllowPrivate':
      return show(SETTINGS.outgoingAllowPrivate, config.outgoing.allowPrivate);
    default:
      return show(SETTINGS[name], config.bounds[name]);
  }
}
