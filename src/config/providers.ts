// Providers and models of keygate.yaml, checked and resolved: addresses that a credential may safely be sent to,
// credentials read from where they are referenced, and every target's provider known.

import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { KEY_MARKER, parseKey } from '../keys/format.ts';
import type { ModelEntry, ProviderEntry, TargetEntry } from './file.ts';
import type { ModelConfig, ModelTarget, ProviderConfig, Secret } from './model.ts';
import { didYouMean, mightBeSecret, type Problems, shown } from './problems.ts';
import { credentialFromReference, type Surroundings } from './secrets.ts';

/** The provider inside keygate. It serves its own models and never stands in for another's: the file cannot use it. */
const SANDBOX = 'sandbox';

const CONNECTIONS = 1024;
const OPENAI = 'https://api.openai.com/v1';

/** Every provider of the file, in its order. A wrong one is left out, with its problems told. */
export function readProviders(
  entries: Readonly<Record<string, ProviderEntry>>,
  file: string,
  from: Surroundings,
  problems: Problems,
): ProviderConfig[] {
  const providers: ProviderConfig[] = [];
  for (const [name, entry] of Object.entries(entries)) {
    const provider = readProvider(name, entry, `In ${file}, providers.${nameInPath(name)}`, from, problems);
    if (provider) providers.push(provider);
  }
  return providers;
}

function readProvider(
  name: string,
  entry: ProviderEntry,
  place: string,
  from: Surroundings,
  problems: Problems,
): ProviderConfig | undefined {
  if (!/^[a-z0-9][a-z0-9_-]{0,62}$/.test(name)) {
    problems.add(
      `${place} is no provider's name: use 1 to 63 lower-case letters, digits, dashes and underscores.`,
    );
  }
  if (name === SANDBOX) {
    problems.add(`${place} cannot be defined: sandbox is the provider inside keygate. Choose another name.`);
  }
  const allowPrivate = entry.allow_private ?? false;
  const baseUrl = readBaseUrl(entry.base_url, allowPrivate, `${place}.base_url`, problems);
  const { credential, credentialFrom, auth } = readCredential(entry, place, from, problems);
  checkHeaders(entry.headers ?? {}, `${place}.headers`, problems);
  const models = entry.models ?? [];
  for (const model of models) {
    if (isModelName(model, true)) continue;
    problems.add(
      `${place}.models holds ${shown(model)}: a model's name has 1 to 256 visible characters, and a * only at its end.`,
    );
  }
  if (!baseUrl) return undefined;
  return {
    name,
    baseUrl,
    credential,
    credentialFrom,
    auth,
    headers: { ...entry.headers },
    models,
    priority: entry.priority ?? 0,
    connections: entry.connections ?? CONNECTIONS,
    allowPrivate,
    environments: entry.environments ?? null,
  };
}

function readCredential(
  entry: ProviderEntry,
  place: string,
  from: Surroundings,
  problems: Problems,
): Pick<ProviderConfig, 'credential' | 'credentialFrom' | 'auth'> {
  const { credential: reference, auth } = entry;
  if (reference === undefined || reference === null) {
    problems.add(
      `${place}.credential is missing: give env:NAME, file:/path, or none for a server that wants no key.`,
    );
  } else if (reference === 'none') {
    if (auth === undefined || auth === 'none')
      return { credential: null, credentialFrom: null, auth: 'none' };
    problems.add(
      `${place}.auth is ${auth}, but its credential is none: leave auth out, or give a credential.`,
    );
  } else if (auth === 'none') {
    problems.add(`${place}.auth is none, but it has a credential: leave one of them out.`);
  } else {
    const read = credentialFromReference(reference, `${place}.credential`, from, problems);
    const { credential } = read;
    // Another keygate may be the provider; OpenAI is none, and a key for this side would only leak there.
    if (credential && isOpenAi(entry.base_url) && isKeygateKey(credential.reveal())) {
      problems.add(
        `${place}.credential leads to a key that a keygate issued: it needs the key that OpenAI gave you.`,
      );
    }
    return { ...read, auth: auth ?? 'bearer' };
  }
  return { credential: null, credentialFrom: null, auth: 'none' };
}

function isOpenAi(baseUrl: string): boolean {
  return URL.canParse(baseUrl) && new URL(baseUrl).hostname === 'api.openai.com';
}

/** Where a credential may be sent: over TLS, or in the clear to a server of one's own. */
function readBaseUrl(
  text: string,
  allowPrivate: boolean,
  place: string,
  problems: Problems,
): URL | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || (url.protocol !== 'https:' && url.protocol !== 'http:')) {
    problems.add(`${place} must be an address that begins with https:// or http://, such as ${OPENAI}.`);
    return undefined;
  }
  if (url.username !== '' || url.password !== '') {
    problems.add(`${place} must not hold a user or a password: put the key in credential.`);
  }
  if (/[?#]/.test(text)) {
    problems.add(
      `${place} must not hold a query (?) or a fragment (#): give the address up to its version path.`,
    );
  }
  const { nearby, literal } = locate(url.hostname);
  if (url.protocol === 'http:' && !(nearby && allowPrivate)) {
    problems.add(
      nearby
        ? `${place} is a private address without TLS: add allow_private: true if that is meant, or use https.`
        : `${place} must begin with https://, because the credential would cross the network in the clear.`,
    );
  } else if (nearby && literal && !allowPrivate) {
    problems.add(`${place} is a private address: add allow_private: true if that is meant.`);
  }
  url.pathname = url.pathname.replace(/\/+$/, '');
  return url;
}

const NEARBY_NAME = /^(?:[^.]+|.+\.(?:localhost|local|internal|lan|test|home\.arpa|svc|cluster\.local))\.?$/i;

/**
 * Whether a host is on this machine or a private network as far as its name tells, and whether that is certain. The
 * names are those that no public registry delegates (RFC 6761, RFC 6762, RFC 8375), and those without a dot.
 */
function locate(hostname: string): { nearby: boolean; literal: boolean } {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  if (isIP(bare) > 0) return { nearby: ipaddr.process(bare).range() !== 'unicast', literal: true };
  return { nearby: NEARBY_NAME.test(bare), literal: /(^|\.)localhost\.?$/i.test(bare) };
}

/** Headers that carry a credential, or that frame the message: the first belong in `credential`, the others are ours. */
const REFUSED_HEADERS =
  /^(?:(?:proxy-)?authorization|cookie|(?:x-)?api-key|x-goog-api-key|host|connection|keep-alive|content-(?:length|encoding|type)|transfer-encoding|te|trailer|upgrade|expect|accept-encoding|user-agent)$/i;

function checkHeaders(headers: Readonly<Record<string, string>>, place: string, problems: Problems): void {
  for (const [name, value] of Object.entries(headers)) {
    const header = `${place}.${nameInPath(name)}`;
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,256}$/.test(name)) {
      problems.add(`${header} is no header's name: use letters, digits and dashes.`);
    } else if (REFUSED_HEADERS.test(name)) {
      problems.add(
        `${header} cannot be set here: credentials belong in credential, and keygate sets the framing itself.`,
      );
    } else if (!/^[\x20-\x7e]{0,4096}$/.test(value)) {
      problems.add(`${header} must be one line of at most 4096 visible ASCII characters.`);
    } else if (/^\s*(?:bearer\s|basic\s|sk-)/i.test(value)) {
      problems.add(
        `${header} holds a credential: give it as credential, a reference, and never in this file.`,
      );
    }
  }
}

/** Every model name of the administrator's own, its targets' providers known. */
export function readModels(
  entries: Readonly<Record<string, ModelEntry>>,
  providers: readonly string[],
  file: string,
  problems: Problems,
): ModelConfig[] {
  return Object.entries(entries).map(([name, { targets, environments }]) => {
    const place = `In ${file}, models.${nameInPath(name)}`;
    if (!isModelName(name, false)) {
      problems.add(`${place} is no model's name: use 1 to 256 visible characters without a *.`);
    }
    if (name.startsWith(`${SANDBOX}-`)) {
      problems.add(
        `${place} cannot be defined: names that begin with sandbox- are the sandbox's own models.`,
      );
    }
    return {
      name,
      environments: environments ?? null,
      targets: targets.map((target) => readTarget(target, name, providers, place, problems)),
    };
  });
}

function readTarget(
  entry: TargetEntry,
  alias: string,
  known: readonly string[],
  place: string,
  problems: Problems,
): ModelTarget {
  const { provider, model = alias, weight = 1, priority = 0 } = entry;
  if (!known.includes(provider)) {
    const there = known.length === 0 ? 'none is defined' : `known are ${known.join(', ')}`;
    problems.add(
      `${place} names the provider ${shown(provider)}, which is not there${didYouMean(provider, known)}: ${there}.`,
    );
  }
  if (!isModelName(model, false)) {
    problems.add(
      `${place} asks for the model ${shown(model)}: a model's name has 1 to 256 visible characters and no *.`,
    );
  }
  return { provider, model, weight, priority };
}

function isModelName(text: string, pattern: boolean): boolean {
  return /^[\x21-\x7e]{1,256}$/.test(text) && (pattern ? /^[^*]*\*?$/ : /^[^*]*$/).test(text);
}

function nameInPath(name: string): string {
  return mightBeSecret(name) || !/^[\x21-\x7e]{1,64}$/.test(name) ? '…' : name;
}

/** A key that some keygate issued, whole or damaged: it opens this side's door, and no provider's. */
export function isKeygateKey(text: string): boolean {
  return parseKey(text).ok || (text.startsWith('sk-') && text.includes(KEY_MARKER));
}

/** The provider that `OPENAI_API_KEY` alone makes. */
export function openAiProvider(credential: Secret): ProviderConfig {
  return {
    name: 'openai',
    baseUrl: new URL(OPENAI),
    credential,
    credentialFrom: null,
    auth: 'bearer',
    headers: {},
    models: ['*'],
    priority: 0,
    connections: CONNECTIONS,
    allowPrivate: false,
    environments: null,
  };
}
