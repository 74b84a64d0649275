// Sends one message to one webhook: signed, to a checked address, with a bound on time. 2xx is success; everything
// else, redirects among it, is failure; 410 says that nobody wants it any more (Standard Webhooks, "Operational
// considerations").

import { type Outgoing, OutgoingError } from '../platform/outgoing.ts';
import type { WebhookEndpointTable } from '../store/schema-notify.ts';
import type { Db } from '../store/store.ts';
import { type Sealing, signingSecrets } from './endpoints.ts';
import type { Attempt, Delivery } from './model.ts';
import { signedHeaders } from './signature.ts';

/** Of the 15 to 30 seconds that the standard recommends. */
const TIMEOUT_MS = 15_000;
/** Nothing of a reply's body is used. */
const REPLY_BYTES = 64 * 1024;
const GONE = 410;

export interface WebhookSending {
  readonly outgoing: Outgoing;
  readonly seals: Sealing;
  /** Of the request's signature: milliseconds since the epoch. */
  readonly now: () => number;
}

export async function sendWebhook(
  db: Db,
  sending: WebhookSending,
  delivery: Delivery,
  signal?: AbortSignal,
): Promise<Attempt> {
  const endpoint = await db
    .selectFrom('webhook_endpoints')
    .selectAll()
    .where('organization_id', '=', delivery.organizationId)
    .where('id', '=', delivery.target)
    .executeTakeFirst();
  if (endpoint === undefined) return failed('The endpoint was deleted.', true);
  const reply = await post(sending, endpoint, delivery.eventId, delivery.body, signal);
  if ('kind' in reply) return reply;
  const { status, retryAfterMs } = reply;
  if (status >= 200 && status <= 299) return { kind: 'sent' };
  return { ...failed(`${new URL(endpoint.url).host} answered ${status}.`, status === GONE), retryAfterMs };
}

/** One request to an endpoint: its reply, or why there is none. */
export async function post(
  { outgoing, seals, now }: WebhookSending,
  endpoint: WebhookEndpointTable,
  messageId: string,
  body: string,
  signal?: AbortSignal,
): Promise<{ status: number; retryAfterMs: number } | (Attempt & { kind: 'failed' })> {
  try {
    const secrets = await signingSecrets(seals, endpoint, now());
    const reply = await outgoing.send({
      url: endpoint.url,
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        'user-agent': 'keygate-webhooks/1',
        ...signedHeaders(secrets, messageId, now(), body),
      },
      body,
      timeoutMs: TIMEOUT_MS,
      maxBytes: REPLY_BYTES,
      ...(signal && { signal }),
    });
    const asked = reply.status === 429 || reply.status === 503 ? Number(reply.headers.get('retry-after')) : 0;
    return { status: reply.status, retryAfterMs: Number.isFinite(asked) ? Math.max(0, asked) * 1000 : 0 };
  } catch (error) {
    // A long reply was one all the same, but which status it had is gone with it.
    if (error instanceof OutgoingError) return failed(error.message, false);
    throw error;
  }
}

function failed(reason: string, final: boolean): Attempt & { kind: 'failed' } {
  return { kind: 'failed', reason, final };
}
