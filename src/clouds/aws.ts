// AWS by its REST interfaces: requests signed with Signature Version 4 (aws4fetch), roles taken by STS. No other SDK:
// four operations do not need one.

import { readFile } from 'node:fs/promises';
import { AwsV4Signer } from 'aws4fetch';
import type { AwsConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Outgoing, OutgoingReply } from '../platform/outgoing.ts';
import { Secret } from '../secrets/secret.ts';
import { CloudError, codeText, jsonOf, neededAt, reached, textAt } from './error.ts';

export interface AwsKeys {
  readonly id: string;
  readonly secret: Secret;
  readonly token: string | null;
}

export interface AwsRequest {
  readonly service: 'kms' | 's3' | 'secretsmanager' | 'sts';
  readonly region: string;
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

/** Which of its codes do not say no to us: they are faults of the moment, or of keygate's own identity. */
const NOT_DENIED =
  /Throttl|TooManyRequests|SlowDown|Internal|Unavailable|Timeout|ExpiredToken|InvalidClientTokenId|UnrecognizedClient|SignatureDoesNotMatch|RequestTimeTooSkewed|InvalidAccessKeyId|IncompleteSignature|RequestExpired|LimitExceeded/;
const MISSING = /^(NotFoundException|ResourceNotFoundException|NoSuchKey|NoSuchBucket|404)$/;
const REGION = /^[a-z]{2}(?:-[a-z]+){1,2}-\d{1,2}$/;
/** Before a role's keys end, new ones are taken. */
const EARLY_MS = 5 * 60_000;
const ROLES_MAX = 1000;

export class Aws {
  readonly #config: AwsConfig;
  readonly #outgoing: Outgoing;
  readonly #clock: Clock;
  readonly #roles = new Map<string, { readonly keys: AwsKeys; readonly until: number }>();

  constructor(config: AwsConfig, outgoing: Outgoing, clock: Clock) {
    this.#config = config;
    this.#outgoing = outgoing;
    this.#clock = clock;
  }

  /** The region that the configuration names. */
  get region(): string {
    const { region } = this.#config;
    if (region === null || !REGION.test(region)) {
      throw new CloudError(
        'unavailable',
        'No AWS region is configured: set clouds.aws.region or AWS_REGION.',
      );
    }
    return region;
  }

  /** `https://kms.eu-west-1.amazonaws.com`, or the address that the configuration has for the service. */
  endpoint(service: AwsRequest['service'], region: string): string {
    const configured = this.#config.endpoints[service];
    if (configured !== undefined) return configured.replace(/\/+$/, '');
    if (!REGION.test(region)) throw new CloudError('denied', 'The AWS region is not one that exists.');
    return `https://${service}.${region}.amazonaws.com${region.startsWith('cn-') ? '.cn' : ''}`;
  }

  /** keygate's own keys: those of the configuration, or of the role that its platform's token gives. */
  async own(): Promise<AwsKeys> {
    const { keys, webIdentity } = this.#config;
    if (keys !== null) {
      return { id: keys.id.reveal(), secret: keys.secret, token: keys.token?.reveal() ?? null };
    }
    if (webIdentity === null) {
      throw new CloudError(
        'unavailable',
        'keygate has no AWS credentials: set clouds.aws, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.',
      );
    }
    return await this.#role(`web ${webIdentity.roleArn}`, async () => {
      const token = (await readFile(webIdentity.tokenFile, 'utf8')).trim();
      return await this.#sts(null, {
        Action: 'AssumeRoleWithWebIdentity',
        RoleArn: webIdentity.roleArn,
        WebIdentityToken: token,
      });
    });
  }

  /** The keys of a customer's role, taken with the external id that the role's trust policy asks for. */
  async assume(roleArn: string, externalId: string): Promise<AwsKeys> {
    return await this.#role(`${externalId} ${roleArn}`, async () =>
      this.#sts(await this.own(), { Action: 'AssumeRole', RoleArn: roleArn, ExternalId: externalId }),
    );
  }

  /** Forgets a role's keys: the next use asks for new ones, and so learns whether the role may still be taken. */
  forget(roleArn: string, externalId: string): void {
    this.#roles.delete(`${externalId} ${roleArn}`);
  }

  async send(keys: AwsKeys | null, request: AwsRequest): Promise<OutgoingReply> {
    const { service, region, method, url, body, maxBytes, timeoutMs } = request;
    let headers: Record<string, string> = { ...request.headers };
    if (keys !== null) {
      const signed = await new AwsV4Signer({
        url,
        method,
        headers,
        // A copy over a buffer of its own, which is what the signer's types ask for.
        ...(body !== undefined && { body: typeof body === 'string' ? body : new Uint8Array(body) }),
        accessKeyId: keys.id,
        secretAccessKey: keys.secret.reveal(),
        ...(keys.token !== null && { sessionToken: keys.token }),
        service,
        region,
        datetime: new Date(this.#clock.now()).toISOString().replace(/[:-]|\.\d{3}/g, ''),
      }).sign();
      headers = Object.fromEntries(signed.headers);
    }
    return await reached(
      this.#outgoing.send({
        url,
        method,
        headers,
        ...(body !== undefined && { body }),
        ...(maxBytes !== undefined && { maxBytes }),
        ...(timeoutMs !== undefined && { timeoutMs }),
      }),
    );
  }

  /** One operation of an interface that speaks JSON 1.1 (KMS, Secrets Manager). */
  async json(
    keys: AwsKeys,
    service: 'kms' | 'secretsmanager',
    region: string,
    target: string,
    body: object,
  ): Promise<Readonly<Record<string, unknown>>> {
    const reply = await this.send(keys, {
      service,
      region,
      method: 'POST',
      url: `${this.endpoint(service, region)}/`,
      headers: { 'content-type': 'application/x-amz-json-1.1', 'x-amz-target': target },
      body: JSON.stringify(body),
    });
    const value = jsonOf(reply, `AWS ${service}`);
    if (reply.status === 200) return value;
    const code = (textAt(value, '__type') ?? textAt(value, 'code') ?? '').split('#').at(-1);
    throw awsError(service, reply.status, code);
  }

  async #role(name: string, take: () => Promise<{ keys: AwsKeys; until: number }>): Promise<AwsKeys> {
    const known = this.#roles.get(name);
    if (known !== undefined && known.until - EARLY_MS > this.#clock.now()) return known.keys;
    const taken = await take();
    if (this.#roles.size >= ROLES_MAX) this.#roles.clear();
    this.#roles.set(name, taken);
    return taken.keys;
  }

  async #sts(keys: AwsKeys | null, parameters: Readonly<Record<string, string>>) {
    const region = this.#config.region ?? 'us-east-1';
    const reply = await this.send(keys, {
      service: 'sts',
      region,
      method: 'POST',
      url: `${this.endpoint('sts', region)}/`,
      headers: { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' },
      body: new URLSearchParams({
        Version: '2011-06-15',
        RoleSessionName: 'keygate',
        DurationSeconds: '3600',
        ...parameters,
      }).toString(),
    });
    const text = reply.body.toString('utf8');
    if (reply.status !== 200) throw awsError('sts', reply.status, stsField(text, 'Code'));
    const credentials = {
      id: stsField(text, 'AccessKeyId'),
      secret: stsField(text, 'SecretAccessKey'),
      token: stsField(text, 'SessionToken'),
      until: Date.parse(stsField(text, 'Expiration') ?? ''),
    };
    const until = Number.isNaN(credentials.until)
      ? // The JSON form has seconds since the epoch.
        Number(stsField(text, 'Expiration') ?? 0) * 1000
      : credentials.until;
    const found = { id: credentials.id, secret: credentials.secret, token: credentials.token };
    return {
      keys: {
        id: neededAt(found, 'AWS sts', 'id'),
        secret: new Secret(neededAt(found, 'AWS sts', 'secret')),
        token: neededAt(found, 'AWS sts', 'token'),
      },
      until,
    };
  }
}

/** A field of STS's reply, which is XML or, as asked for, JSON: both have each of these names once. */
function stsField(text: string, name: string): string | undefined {
  const xml = new RegExp(`<${name}>([^<]{1,8192})</${name}>`).exec(text)?.[1];
  return xml ?? new RegExp(`"${name}"\\s*:\\s*"?([^",}]{1,8192})`).exec(text)?.[1];
}

export function awsError(service: string, status: number, code: string | undefined): CloudError {
  const word = codeText(code);
  const said = word === null ? String(status) : `${word} (${status})`;
  const message = `AWS ${service} answered ${said}.`;
  if (status >= 500 || status === 429 || (word !== null && NOT_DENIED.test(word))) {
    return new CloudError('unavailable', message, word);
  }
  if (status === 404 || (word !== null && MISSING.test(word)))
    return new CloudError('missing', message, word);
  return new CloudError('denied', message, word);
}
