// Entries to a webhook: groups of them in order, each group one request, signed as Standard Webhooks says. The next
// group goes out when the receiver has answered 2xx.

import type { Secret } from '../config/model.ts';
import { signedHeaders } from '../notify/signature.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import type { AuditTable } from '../store/schema.ts';
import { wholeEntry } from './read.ts';
import type { AuditSink } from './stream.ts';

const TIMEOUT_MS = 30_000;

export interface AuditWebhookOptions {
  readonly url: Secret;
  /** `whsec_…`; null: requests are not signed. */
  readonly secret: Secret | null;
  readonly outgoing: Outgoing;
  readonly now: () => number;
}

export function auditWebhook({ url, secret, outgoing, now }: AuditWebhookOptions): AuditSink {
  return {
    name: 'webhook',
    most: 100,
    async send(entries, signal) {
      const body = groupOf(entries);
      const id = `audit_${entries[0]?.seq}_${entries.at(-1)?.seq}`;
      const reply = await outgoing.send({
        url: url.reveal(),
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'keygate-webhooks/1',
          ...(secret !== null && signedHeaders([secret.reveal()], id, now(), body)),
        },
        body,
        timeoutMs: TIMEOUT_MS,
        signal,
      });
      if (reply.status < 200 || reply.status > 299)
        throw new Error(`The receiver of the audit log answered ${reply.status}.`);
    },
  };
}

function groupOf(entries: readonly AuditTable[]): string {
  return JSON.stringify({ object: 'keygate.audit_log.entries', data: entries.map(wholeEntry) });
}
