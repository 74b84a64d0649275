// Oracle Cloud by its REST interfaces: requests signed with keygate's own API key (draft-cavage-http-signatures-08, as
// Oracle documents it: request target, date and host, and for bodies their length, type and SHA-256).

import { createHash, createPrivateKey, sign } from 'node:crypto';
import type { OciConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Outgoing, OutgoingReply } from '../platform/outgoing.ts';
import { CloudError, codeText, reached, reasonOf, textAt } from './error.ts';

export interface OciRequest {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';
  readonly url: string;
  readonly contentType?: string;
  readonly body?: string | Uint8Array;
  readonly headers?: Readonly<Record<string, string>>;
  readonly maxBytes?: number;
  readonly timeoutMs?: number;
}

const REGION = /^[a-z]{2}-[a-z]+-\d{1,2}$/;

export class Oci {
  readonly #config: OciConfig | null;
  readonly #outgoing: Outgoing;
  readonly #clock: Clock;

  constructor(config: OciConfig | null, outgoing: Outgoing, clock: Clock) {
    this.#config = config;
    this.#outgoing = outgoing;
    this.#clock = clock;
  }

  /** The endpoint that the configuration has, or what stands for the region. */
  endpoint(service: 'kms' | 'storage', region: string, otherwise: string): string {
    if (!REGION.test(region))
      throw new CloudError('denied', 'The Oracle Cloud region is not one that exists.');
    return (this.#config?.endpoints[service] ?? otherwise).replace(/\/+$/, '');
  }

  async send(request: OciRequest): Promise<OutgoingReply> {
    if (this.#config === null) {
      throw new CloudError('unavailable', 'keygate has no Oracle Cloud credentials: set clouds.oci.');
    }
    const { method, body, contentType = 'application/json', maxBytes, timeoutMs } = request;
    const url = new URL(request.url);
    const date = new Date(this.#clock.now()).toUTCString();
    const fields: [string, string][] = [
      ['(request-target)', `${method.toLowerCase()} ${url.pathname}${url.search}`],
      ['date', date],
      ['host', url.host],
    ];
    const headers: Record<string, string> = { ...request.headers, date };
    if (method === 'POST' || method === 'PUT') {
      const bytes = Buffer.from(body ?? '');
      headers['content-type'] = contentType;
      headers['x-content-sha256'] = createHash('sha256').update(bytes).digest('base64');
      fields.push(
        ['content-length', String(bytes.length)],
        ['content-type', contentType],
        ['x-content-sha256', headers['x-content-sha256']],
      );
    }
    headers['authorization'] = this.#authorization(this.#config, fields);
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

  #authorization(config: OciConfig, fields: readonly (readonly [string, string])[]): string {
    let key: ReturnType<typeof createPrivateKey>;
    try {
      key = createPrivateKey(config.privateKey.reveal());
    } catch {
      throw new CloudError('unavailable', 'clouds.oci.private_key is no private key in PEM.');
    }
    const text = fields.map(([name, value]) => `${name}: ${value}`).join('\n');
    const signature = sign('sha256', Buffer.from(text), key).toString('base64');
    const names = fields.map(([name]) => name).join(' ');
    const { tenancy, user, fingerprint } = config;
    return `Signature version="1",keyId="${tenancy}/${user}/${fingerprint}",algorithm="rsa-sha256",headers="${names}",signature="${signature}"`;
  }
}

export function ociError(reply: OutgoingReply): CloudError {
  let code: string | null = null;
  try {
    code = codeText(textAt(JSON.parse(reply.body.toString('utf8')), 'code'));
  } catch {
    // The number says enough.
  }
  // 401 is keygate's own key; 404 is also what somebody without the right is told.
  const reason = reply.status === 401 ? 'unavailable' : reasonOf(reply.status);
  return new CloudError(
    reason,
    `Oracle Cloud answered ${code === null ? '' : `${code} `}(${reply.status}).`,
    code,
  );
}
