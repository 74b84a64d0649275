// Entries as syslog messages (RFC 5424) with octet counting over TLS (RFC 5425) or TCP (RFC 6587 section 3.4.1), or one
// a datagram over UDP (RFC 5426), which promises nothing.
//
// Syslog has no acknowledgement: what was written to a socket may be lost with the connection. So each group of entries
// has a connection of its own, which is closed from here and must be closed by the receiver in turn, without a reset:
// that it ended well says that the receiver's end had read all of it.

import { createSocket } from 'node:dgram';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import type { AuditTable } from '../store/schema.ts';
import { wholeEntry } from './read.ts';
import type { AuditSink } from './stream.ts';

/** Facility 13 is "log audit" (RFC 5424 table 1). */
const FACILITY = 13;
const NOTICE = 5;
const WARNING = 4;
/** Receivers must take 2048 bytes and should take 8192 (RFC 5425 section 4.3.1); entries are seldom longer. */
const DATAGRAM_MAX = 8192;
const TIMEOUT_MS = 20_000;
const PORTS = { 'tls:': 6514, 'tcp:': 601, 'udp:': 514 } as const;

export interface SyslogOptions {
  /** tls://host:port, tcp://host:port or udp://host:port */
  readonly url: URL;
  /** HOSTNAME of the messages. */
  readonly node: string;
  /** Authorities beside the system's. */
  readonly ca?: string;
}

export function syslogSink(options: SyslogOptions): AuditSink {
  return {
    name: 'syslog',
    most: 500,
    send: async (entries, signal) => {
      const messages = entries.map((entry) => syslogMessage(entry, options.node));
      if (options.url.protocol === 'udp:') await sendDatagrams(options.url, messages);
      else await sendFramed(options, messages, signal);
    },
  };
}

/** One entry; its text is ASCII, so that no byte order mark is needed. */
export function syslogMessage(entry: AuditTable, node: string): string {
  const severity = /refused|failed|deleted|revoked/.test(entry.type) ? WARNING : NOTICE;
  const head = [
    `<${FACILITY * 8 + severity}>1`,
    new Date(entry.at).toISOString(),
    printable(node, 255),
    'keygate',
    '-',
    printable(entry.type, 32),
    // RFC 5424 section 7.3.1: 1 to 2147483647, then 1 again.
    `[meta sequenceId="${((entry.seq - 1) % 2_147_483_647) + 1}"]`,
  ].join(' ');
  return `${head} ${ascii(JSON.stringify(wholeEntry(entry)))}`;
}

/** PRINTUSASCII of this length at most; `-` for nothing. */
function printable(text: string, most: number): string {
  return text.replace(/[^\x21-\x7e]/g, '_').slice(0, most) || '-';
}

function ascii(json: string): string {
  return json.replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

function sendFramed(
  { url, ca }: SyslogOptions,
  messages: readonly string[],
  signal: AbortSignal,
): Promise<void> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const secure = url.protocol === 'tls:';
  const port = portOf(url);
  return new Promise((resolve, reject) => {
    let socket: Socket;
    const left = () => fail('was left, because the server stops');
    const fail = (why: string) => {
      signal.removeEventListener('abort', left);
      socket.destroy();
      reject(new Error(`The syslog receiver at ${url.host} ${why}.`));
    };
    const begun = () => {
      // RFC 6587 section 3.4.1: the length in octets, a space, the message.
      for (const message of messages) socket.write(`${Buffer.byteLength(message)} ${message}`);
      socket.end();
    };
    socket = secure
      ? connectTls(
          { host, port, ...(isIP(host) === 0 && { servername: host }), ...(ca !== undefined && { ca }) },
          begun,
        )
      : connectTcp({ host, port }, begun);
    socket.setTimeout(TIMEOUT_MS, () => fail('did not take the entries in time'));
    socket.on('error', (error: NodeJS.ErrnoException) => fail(`broke off (${error.code ?? 'unknown'})`));
    socket.on('end', () => socket.destroy());
    socket.on('close', (broken) => {
      signal.removeEventListener('abort', left);
      if (!broken && socket.writableFinished) resolve();
      else fail('closed the connection before it had all');
    });
    // Receivers say nothing; what they say all the same is let go.
    socket.resume();
    signal.addEventListener('abort', left, { once: true });
  });
}

async function sendDatagrams(url: URL, messages: readonly string[]): Promise<void> {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
  try {
    for (const message of messages) {
      await new Promise<void>((resolve, reject) => {
        socket.send(Buffer.from(message).subarray(0, DATAGRAM_MAX), portOf(url), host, (error) =>
          error === null
            ? resolve()
            : reject(new Error(`The syslog receiver at ${url.host} cannot be reached.`)),
        );
      });
    }
  } finally {
    socket.close();
  }
}

function portOf(url: URL): number {
  if (url.port !== '') return Number(url.port);
  return url.protocol === 'tls:' || url.protocol === 'tcp:' || url.protocol === 'udp:'
    ? PORTS[url.protocol]
    : PORTS['tls:'];
}
