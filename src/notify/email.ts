// Sends one e-mail by SMTP (nodemailer). smtp:// begins in the clear and must go on with STARTTLS, unless the
// configuration says otherwise; smtps:// is TLS from the first byte. The server is the administrator's own word, and
// so may be anywhere.
//
// The Message-ID is the delivery's, so that one that is sent twice is shown once by whoever compares them.

import type { Transporter } from 'nodemailer';
import { z } from 'zod';
import type { SmtpConfig } from '../config/model.ts';
import type { Sealing } from './endpoints.ts';
import type { Attempt, Delivery } from './model.ts';

const TIMEOUT_MS = 20_000;

export interface SmtpSettings extends SmtpConfig {
  /** Authorities beside the system's. */
  readonly ca?: string;
}

const Body = z.object({
  subject: z.string(),
  text: z.string(),
  /** A secret that the text shows where it says {secret}: sealed under the delivery's organization and this id. */
  sealed: z.object({ id: z.string(), data: z.base64() }).optional(),
});

export class EmailSender {
  readonly #settings: SmtpSettings;
  readonly #seals: Pick<Sealing, 'open'>;
  #transport: Transporter | null = null;

  /** @param seals opens what a message carries sealed */
  constructor(settings: SmtpSettings, seals: Pick<Sealing, 'open'>) {
    this.#settings = settings;
    this.#seals = seals;
  }

  async send(delivery: Delivery): Promise<Attempt> {
    const { subject, text, sealed } = Body.parse(JSON.parse(delivery.body));
    const { from, url } = this.#settings;
    if (url === null) {
      return { kind: 'failed', reason: 'No mail server is configured: set smtp.url.', final: false };
    }
    try {
      this.#transport ??= await this.#open(new URL(url.reveal()));
      await this.#transport.sendMail({
        from,
        // An object, and not a text: nothing in it is taken for a list of addresses.
        to: { name: '', address: delivery.target },
        subject,
        text: sealed === undefined ? text : text.replaceAll('{secret}', await this.#secret(delivery, sealed)),
        messageId: `<${delivery.id}@${domainOf(from)}>`,
        headers: { 'auto-submitted': 'auto-generated' },
        disableFileAccess: true,
        disableUrlAccess: true,
      });
      return { kind: 'sent' };
    } catch (error) {
      return failure(error);
    }
  }

  async #secret({ organizationId }: Delivery, sealed: { id: string; data: string }): Promise<string> {
    const place = { organizationId, projectId: null, purpose: 'delivery', id: sealed.id } as const;
    return (await this.#seals.open(place, Buffer.from(sealed.data, 'base64'))).toString();
  }

  close(): void {
    this.#transport?.close();
  }

  async #open(url: URL): Promise<Transporter> {
    // Loaded when there is something to send: most servers never do.
    const { createTransport } = await import('nodemailer');
    const secure = url.protocol === 'smtps:';
    const user = decodeURIComponent(url.username);
    return createTransport({
      host: url.hostname.replace(/^\[|\]$/g, ''),
      port: url.port === '' ? (secure ? 465 : 587) : Number(url.port),
      secure,
      requireTLS: !secure && this.#settings.startTls === 'required',
      ...(user !== '' && { auth: { user, pass: decodeURIComponent(url.password) } }),
      ...(this.#settings.ca !== undefined && { tls: { ca: this.#settings.ca } }),
      connectionTimeout: TIMEOUT_MS,
      greetingTimeout: TIMEOUT_MS,
      socketTimeout: TIMEOUT_MS,
      dnsTimeout: TIMEOUT_MS,
      maxResponseSize: 64 * 1024,
      logger: false,
    });
  }
}

/** Codes and numbers only: a server's words may repeat what it was sent, a password among it. */
function failure(error: unknown): Attempt {
  const code = property(error, 'code');
  const status = property(error, 'responseCode');
  const numbered = typeof status === 'number' ? status : 0;
  const words = [typeof code === 'string' ? code : 'no answer', numbered > 0 ? String(numbered) : ''];
  const refused = code === 'EENVELOPE' || code === 'EMESSAGE';
  return {
    kind: 'failed',
    reason: `The mail server did not take the message (${words.filter((word) => word !== '').join(', ')}).`,
    // RFC 5321 section 4.2.1: 5yz is a permanent refusal, here of this recipient or this message.
    final: refused && numbered >= 500 && numbered <= 599,
  };
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** `keygate <alerts@example.com>` → `example.com` */
export function domainOf(from: string): string {
  return /@([A-Za-z0-9.-]+)>?\s*$/.exec(from)?.[1] ?? 'localhost';
}
