import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Secret } from '../../src/config/model.ts';
import { EmailSender } from '../../src/notify/email.ts';
import type { Delivery } from '../../src/notify/model.ts';
import type { DeliveryId, OrganizationId } from '../../src/platform/ids.ts';
import { CA, type MailServer, startMailServer } from './receiver.ts';

const delivery = (target: string, email = { subject: 'Spend', text: 'It is much.\n' }): Delivery => ({
  id: 'dlv_1' as DeliveryId,
  organizationId: 'org-1' as OrganizationId,
  projectId: null,
  channel: 'email',
  target,
  eventId: 'evt_1',
  eventType: 'spend_alert.triggered',
  body: JSON.stringify(email),
  attempts: 0,
  createdAt: 0,
});

/** Seals nothing, and says what for: what is tested here is what becomes of the text. */
const seals = {
  open: async (place: { organizationId: string; purpose: string; id: string }, sealed: Uint8Array) =>
    Buffer.from(`${Buffer.from(sealed)} of ${place.organizationId} ${place.purpose} ${place.id}`),
};

describe('e-mail by a real SMTP server', () => {
  let server: MailServer;
  let sender: EmailSender | null = null;
  beforeEach(async () => {
    server = await startMailServer();
  });
  afterEach(async () => {
    sender?.close();
    await server.close();
  });
  const open = (over: Partial<ConstructorParameters<typeof EmailSender>[0]> = {}) => {
    sender = new EmailSender(
      {
        url: new Secret(server.url),
        from: 'keygate <alerts@example.com>',
        startTls: 'required',
        ca: CA,
        ...over,
      },
      seals,
    );
    return sender;
  };

  test('goes out under TLS, signed in, with an id by which a second copy is known', async () => {
    expect(await open().send(delivery('a@example.com'))).toEqual({ kind: 'sent' });
    const [mail] = server.mails;
    expect(mail).toMatchObject({
      secure: true,
      user: 'keygate',
      from: 'alerts@example.com',
      to: ['a@example.com'],
    });
    expect(mail?.text).toMatch(/^From: keygate <alerts@example\.com>\r$/m);
    expect(mail?.text).toContain('Message-ID: <dlv_1@example.com>');
    expect(mail?.text).toContain('Subject: Spend');
    expect(mail?.text).toContain('It is much.');
  });

  test('shows a secret that it carries sealed, to whom it is sent and nobody else', async () => {
    const sealed = { id: 'invite-1', data: Buffer.from('opened').toString('base64') };
    const email = { subject: 'Invitation', text: 'accept {secret}\n', sealed };
    expect(await open().send(delivery('a@example.com', email))).toEqual({ kind: 'sent' });
    expect(server.mails[0]?.text).toContain('accept opened of org-1 delivery invite-1');
  });

  test('never in the clear, unless the configuration says so', async () => {
    const plain = await startMailServer(false);
    try {
      const url = new Secret(plain.url.replace('keygate:mail-password@', ''));
      expect(await open({ url }).send(delivery('a@example.com'))).toMatchObject({
        kind: 'failed',
        final: false,
      });
      expect(plain.mails).toEqual([]);
      expect(await open({ url, startTls: 'optional' }).send(delivery('a@example.com'))).toEqual({
        kind: 'sent',
      });
      expect(plain.mails[0]?.secure).toBe(false);
    } finally {
      await plain.close();
    }
  });

  test('nor to a server with another certificate', async () => {
    const { ca: _, ...without } = {
      ca: CA,
      url: new Secret(server.url),
      from: 'k@e.com',
      startTls: 'required' as const,
    };
    sender = new EmailSender(without, seals);
    expect(await sender.send(delivery('a@example.com'))).toMatchObject({ kind: 'failed', final: false });
    expect(server.mails).toEqual([]);
  });

  test('a recipient that is refused for good is given up, one refused for now is not', async () => {
    server.refused.add('gone@example.com');
    server.later.add('full@example.com');
    expect(await open().send(delivery('gone@example.com'))).toMatchObject({ kind: 'failed', final: true });
    expect(await open().send(delivery('full@example.com'))).toMatchObject({ kind: 'failed', final: false });
  });

  test('a wrong password fails with its code, and is in no error', async () => {
    const url = new Secret(server.url.replace('mail-password', 'wrong-password'));
    const attempt = await open({ url }).send(delivery('a@example.com'));
    expect(attempt).toMatchObject({ kind: 'failed', final: false, reason: expect.stringContaining('EAUTH') });
    expect(JSON.stringify(attempt)).not.toContain('wrong-password');
  });

  test('line breaks in a subject make no header, commas in a recipient no list', async () => {
    await open().send(delivery('a@example.com', { subject: 'x\r\nBcc: evil@example.com', text: '-' }));
    expect(server.mails[0]?.to).toEqual(['a@example.com']);
    expect(server.mails[0]?.text).not.toMatch(/^Bcc:/m);
    await open().send(delivery('a@example.com, evil@example.com'));
    expect(server.mails.flatMap(({ to }) => to)).not.toContain('evil@example.com');
  });

  test('without a server, what is to be sent waits', async () => {
    expect(await open({ url: null }).send(delivery('a@example.com'))).toMatchObject({
      kind: 'failed',
      final: false,
      reason: expect.stringContaining('smtp.url'),
    });
  });
});
