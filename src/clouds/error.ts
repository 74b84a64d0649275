// What a cloud said, or that it said nothing. The difference matters: a key that was revoked is to be gone at once, one
// that cannot be asked about may be used a little longer.

import { OutgoingError, type OutgoingReply } from '../platform/outgoing.ts';

export class CloudError extends Error {
  override readonly name = 'CloudError';
  /**
   * `denied`: it deliberately said no (disabled, removed, no access). `missing`: there is no such thing.
   * `unavailable`: no answer, or none that can be used; asking again may help.
   */
  readonly reason: 'denied' | 'missing' | 'unavailable';
  /** The cloud's own word for it, such as `DisabledException`. */
  readonly code: string | null;
  constructor(reason: CloudError['reason'], message: string, code: string | null = null) {
    super(message);
    this.reason = reason;
    this.code = code;
  }
}

/** An exchange with a cloud; one that got no reply is `unavailable`, but for addresses that are not allowed. */
export async function reached(exchange: Promise<OutgoingReply>): Promise<OutgoingReply> {
  try {
    return await exchange;
  } catch (error) {
    if (!(error instanceof OutgoingError)) throw error;
    throw new CloudError('unavailable', error.message, error.fault);
  }
}

/** The reply's JSON object. */
export function jsonOf(reply: OutgoingReply, what: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(reply.body.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return { ...value };
  } catch {
    // Said below.
  }
  throw new CloudError(
    'unavailable',
    `${what} answered ${reply.status} with something that is no JSON object.`,
  );
}

export function textAt(value: unknown, ...path: readonly string[]): string | undefined {
  let at = value;
  for (const name of path) {
    at = typeof at === 'object' && at !== null && Object.hasOwn(at, name) ? Reflect.get(at, name) : undefined;
  }
  return typeof at === 'string' ? at : undefined;
}

/** A text that the cloud's reply must hold. */
export function neededAt(value: unknown, what: string, ...path: readonly string[]): string {
  const found = textAt(value, ...path);
  if (found === undefined) throw new CloudError('unavailable', `${what} answered without ${path.join('.')}.`);
  return found;
}

/** 4xx is a deliberate no, except for too many requests and times out; everything else may pass. */
export function reasonOf(status: number): CloudError['reason'] {
  if (status === 404 || status === 410) return 'missing';
  return status >= 400 && status < 500 && status !== 408 && status !== 429 ? 'denied' : 'unavailable';
}

/** The cloud's own code as a message may repeat it. */
export function codeText(code: string | undefined): string | null {
  return code !== undefined && /^[A-Za-z0-9_.:/ -]{1,100}$/.test(code) ? code : null;
}
