// What an administrator should know at the start and did not ask for: one sentence each, for the log.

import type { Environment } from '../keys/model.ts';
import type { Config, ProviderConfig } from './model.ts';
import { closest } from './problems.ts';
import { OTHER_VARIABLES, SETTINGS } from './settings.ts';

const PREFIX = 'KEYGATE_';

export const SERVICE_LINK =
  "KEYGATE_PORT is an address that Kubernetes' service links set; it is ignored. Set enableServiceLinks: false.";

export function noticeExposure(config: Config, notices: string[]): void {
  const isLoopback = (host: string) => /^(127\.|::1$|localhost$)/.test(host);
  if (!isLoopback(config.host) && config.tls === null) {
    notices.push(
      `keygate listens on ${config.host} without TLS: set tls.cert and tls.key, or let a proxy that ends TLS ` +
        'stand before it, so that keys never cross a network in the clear.',
    );
  }
  if (config.admin === null && !isLoopback(config.host)) {
    notices.push(
      'Administration answers on the same address: set admin.port (KEYGATE_ADMIN_PORT) to keep it and the metrics ' +
        'to a listener of their own.',
    );
  }
  if (config.databaseUrl !== null && config.redisUrl === null) {
    notices.push(
      'Rate limits are kept by this process alone: if several nodes share the database, set redis_url ' +
        '(KEYGATE_REDIS_URL), or together they admit each limit as many times as there are nodes.',
    );
  }
  if (config.prompts.log === 'on') {
    notices.push(
      'Prompts and replies are written to the folder prompts of the data folder (logging.prompts is on): whoever reads ' +
        'that folder reads them.',
    );
  }
  if (config.trustedProxies.some((range) => range.endsWith('/0'))) {
    notices.push('trusted_proxies believes everybody: any caller can then pretend to any address.');
  }
}

/** Told once an administrator tells environments apart. */
export function noticeSharedCredentials(config: Config, notices: string[]): void {
  const { providers, models } = config;
  if (![...providers, ...models].some(({ environments }) => environments !== null)) return;
  notices.push(...sharedCredentials(config));
}

/**
 * One credential that serves both development and production undoes what environments are for: whoever develops spends,
 * and reads, with production's.
 */
export function sharedCredentials({ providers }: Config): string[] {
  const notices: string[] = [];
  const byCredential = new Map<string, ProviderConfig[]>();
  for (const provider of providers) {
    const { credential, credentialFrom } = provider;
    // One that is read later is known by where it is read from.
    const which = credential?.reveal() ?? (credentialFrom && JSON.stringify(credentialFrom));
    if (which !== null) byCredential.set(which, [...(byCredential.get(which) ?? []), provider]);
  }
  for (const sharing of byCredential.values()) {
    const serves = (environment: Environment) =>
      sharing.some(({ environments }) => environments === null || environments.includes(environment));
    if (!serves('development') || !serves('production')) continue;
    const names = sharing.map(({ name }) => name).join(' and ');
    notices.push(
      `One credential, of ${sharing.length === 1 ? 'provider' : 'providers'} ${names}, serves both development and production: give each ` +
        'a credential of its own, and say in environments which projects may use it.',
    );
  }
  return notices;
}

/** A misspelt variable would be silently without effect. Credentials may have any name, so it is only told. */
export function noticeUnknownVariables(
  env: Readonly<Record<string, string | undefined>>,
  notices: string[],
): void {
  const rows = Object.values(SETTINGS);
  const known = [
    ...rows.flatMap((row) => (row.secret ? [row.env, `${row.env}_FILE`] : [row.env])),
    ...OTHER_VARIABLES,
  ];
  const bare = (name: string): string => name.slice(PREFIX.length);
  for (const name of Object.keys(env)) {
    if (!name.startsWith(PREFIX) || known.includes(name) || isServiceLink(name)) continue;
    const meant = closest(bare(name), known.map(bare));
    if (meant !== undefined) {
      notices.push(`${name} is no setting of keygate and has no effect (did you mean ${PREFIX}${meant}?).`);
    }
  }
}

function isServiceLink(name: string): boolean {
  return /^KEYGATE_(SERVICE_|PORT_\d)/.test(name);
}
