// Receivers for tests: a webhook that keeps what it gets and answers as it is told, and a real SMTP server.

import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { SMTPServer } from 'smtp-server';

export interface Received {
  readonly path: string;
  readonly headers: Record<string, string>;
  readonly body: string;
}

export interface Receiver {
  readonly url: string;
  readonly received: Received[];
  /** What it answers next, in order; then 200. A function answers late. */
  answers: (number | ((received: Received) => Promise<number>))[];
  /** The next that comes. */
  next(): Promise<Received>;
  close(): Promise<void>;
}

export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const waiting: ((one: Received) => void)[] = [];
  const receiver: { answers: Receiver['answers'] } = { answers: [] };
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const headers = Object.fromEntries(
      Object.entries(request.headers).map(([name, value]) => [name, String(value)]),
    );
    const one = { path: request.url ?? '', headers, body };
    received.push(one);
    waiting.shift()?.(one);
    const answer = receiver.answers.shift() ?? 200;
    response.writeHead(typeof answer === 'number' ? answer : await answer(one)).end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return Object.assign(receiver, {
    url: `http://127.0.0.1:${port}/hook/secret-path`,
    received,
    next: () => new Promise<Received>((resolve) => waiting.push(resolve)),
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  });
}

export interface Mail {
  readonly from: string;
  readonly to: string[];
  readonly text: string;
  readonly secure: boolean;
  readonly user: string | null;
}

export interface MailServer {
  /** smtp://user:pass@127.0.0.1:port */
  readonly url: string;
  readonly mails: Mail[];
  /** Recipients that are refused for ever (550), and those refused for now (451). */
  readonly refused: Set<string>;
  readonly later: Set<string>;
  next(): Promise<Mail>;
  close(): Promise<void>;
}

export const CA = readFileSync(new URL('../harness/tls/ca.pem', import.meta.url), 'utf8');
const pem = (name: string) => readFileSync(new URL(`../harness/tls/${name}`, import.meta.url), 'utf8');

export async function startMailServer(startTls = true): Promise<MailServer> {
  const mails: Mail[] = [];
  const waiting: ((mail: Mail) => void)[] = [];
  const refused = new Set<string>();
  const later = new Set<string>();
  const server = new SMTPServer({
    key: pem('server.key'),
    cert: pem('server.pem'),
    disabledCommands: startTls ? [] : ['STARTTLS'],
    authOptional: true,
    onAuth(auth, _session, callback) {
      if (auth.username === 'keygate' && auth.password === 'mail-password')
        callback(null, { user: 'keygate' });
      else callback(new Error('no'));
    },
    onRcptTo({ address }, _session, callback) {
      const code = refused.has(address) ? 550 : later.has(address) ? 451 : null;
      callback(
        code === null ? undefined : Object.assign(new Error(`not ${address}`), { responseCode: code }),
      );
    },
    onData(stream, session, callback) {
      let text = '';
      stream.on('data', (chunk: Buffer) => {
        text += chunk.toString();
      });
      stream.on('end', () => {
        const { mailFrom, rcptTo } = session.envelope;
        const mail = {
          from: mailFrom ? mailFrom.address : '',
          to: rcptTo.map(({ address }) => address),
          text,
          secure: session.secure,
          user: typeof session.user === 'string' ? session.user : null,
        };
        mails.push(mail);
        waiting.shift()?.(mail);
        callback(null);
      });
    },
  });
  server.on('error', () => {});
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `smtp://keygate:mail-password@127.0.0.1:${port}`,
    mails,
    refused,
    later,
    next: () => new Promise<Mail>((resolve) => waiting.push(resolve)),
    close: () => new Promise<void>((resolve) => server.close(() => resolve())),
  };
}
