// What the road's own reader of requests takes and refuses: in every cut of the bytes, beside what node:http takes, and
// on messages that two readers could end in different places.

import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type RequestHead,
  RequestParser,
  RequestSyntaxError,
} from '../../../src/gateway/http1/request-parser.ts';

interface Message {
  head: RequestHead;
  body: string;
  complete: boolean;
}

interface Read {
  messages: Message[];
  status: number | null;
  error: unknown;
}

const HEAD_BYTES = 8_192;

/** Reads bytes cut into pieces, message after message. */
function read(bytes: Buffer, cuts: readonly number[] = []): Read {
  const seen: Read = { messages: [], status: null, error: null };
  const last = (): Message => {
    const message = seen.messages.at(-1);
    if (message === undefined) throw new Error('no head came');
    return message;
  };
  const parser = new RequestParser(
    {
      head: (head) => {
        seen.messages.push({ head, body: '', complete: false });
        return true;
      },
      data: (chunk) => {
        last().body += chunk.toString('latin1');
      },
      complete: () => {
        last().complete = true;
      },
    },
    HEAD_BYTES,
  );
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  try {
    for (const [i, from] of [0, ...at].entries()) {
      let piece = bytes.subarray(from, at[i] ?? bytes.length);
      while (piece.length > 0) {
        piece = piece.subarray(parser.push(piece));
        if (parser.done) parser.next();
      }
    }
  } catch (error) {
    seen.error = error;
    seen.status = error instanceof RequestSyntaxError ? error.status : null;
  }
  return seen;
}

const readText = (text: string): Read => read(Buffer.from(text, 'latin1'));

const cuts = fc.array(fc.nat(20_000), { maxLength: 40 });
const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 1, maxLength: 12 });
const fieldValue = fc
  .string({ unit: fc.constantFrom(...'abc XYZ,;="/:019\té'), maxLength: 30 })
  .map((value) => value.trim());
const FRAMING = /^(content-length|transfer-encoding|connection|host|expect|trailer|upgrade|keep-alive)$/i;
const body = fc.string({ unit: 'binary-ascii', maxLength: 2_000 });

const message = fc
  .record({
    method: fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'PATCH', 'OPTIONS'),
    path: fc.string({ unit: fc.constantFrom(...'abc/?=&%20-._~'), maxLength: 30 }).map((rest) => `/${rest}`),
    headers: fc.array(
      fc.tuple(
        token.filter((name) => !FRAMING.test(name)),
        fieldValue,
      ),
      { maxLength: 6 },
    ),
    framing: fc.constantFrom('none', 'length', 'chunked'),
    body,
    chunk: fc.integer({ min: 1, max: 700 }),
    blanks: fc.constantFrom('', ' ', '\t ', '  '),
  })
  .map(({ method, path, headers, framing, body, chunk, blanks }) => {
    const lines = [`${method} ${path} HTTP/1.1`, `Host:${blanks}a.example`];
    for (const [name, value] of headers) lines.push(`${name}:${blanks}${value}${blanks}`);
    let sent = '';
    if (framing === 'length') {
      lines.push(`content-length: ${body.length}`);
      sent = body;
    } else if (framing === 'chunked') {
      lines.push('transfer-encoding: chunked');
      for (let at = 0; at < body.length; at += chunk) {
        const piece = body.slice(at, at + chunk);
        sent += `${piece.length.toString(16)}\r\n${piece}\r\n`;
      }
      sent += '0\r\n\r\n';
    }
    return {
      text: `${lines.join('\r\n')}\r\n\r\n${sent}`,
      method,
      path,
      headers,
      body: framing === 'none' ? '' : body,
    };
  });

describe('reading requests', () => {
  it('gives what was sent, one message after another, however the bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(message, { minLength: 1, maxLength: 4 }), cuts, (messages, at) => {
        const bytes = Buffer.from(messages.map(({ text }) => text).join(''), 'latin1');
        const seen = read(bytes, at);
        expect(seen.error).toBeNull();
        expect(
          seen.messages.map(({ head, body, complete }) => ({
            method: head.method,
            path: head.target,
            headers: pairs(head.headers).filter(([name]) => !FRAMING.test(name)),
            body,
            complete,
          })),
        ).toEqual(
          messages.map(({ method, path, headers, body }) => ({
            method,
            path,
            headers,
            body,
            complete: true,
          })),
        );
      }),
    );
  });

  it('says the same of any bytes, whole or cut', () => {
    const breakage = fc.record({ at: fc.nat(3_000), text: fc.constantFrom(...BREAKAGES) });
    fc.assert(
      fc.property(message, fc.array(breakage, { maxLength: 3 }), cuts, ({ text }, breakages, at) => {
        let broken = text;
        for (const { at: place, text: put } of breakages) {
          const where = place % (broken.length + 1);
          broken = broken.slice(0, where) + put + broken.slice(where + (put.length > 1 ? 0 : 1));
        }
        const bytes = Buffer.from(broken, 'latin1');
        const whole = read(bytes);
        const inPieces = read(bytes, at);
        expect(inPieces.messages).toEqual(whole.messages);
        expect(inPieces.status).toBe(whole.status);
      }),
    );
  });
});

const BREAKAGES = ['\r', '\n', '\r\n', '\0', ' ', ':', '\t', 'é', 'Content-Length: 3\r\n', '\r\n ', ';', '0'];

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((name, i) => (i % 2 === 0 ? [[name, flat[i + 1] ?? ''] as [string, string]] : []));
}

describe('beside node:http', () => {
  let server: Server;
  let seen: { method: string; url: string; headers: string[]; body: string }[] = [];

  beforeAll(async () => {
    server = createServer({ maxHeaderSize: HEAD_BYTES }, (request, response) => {
      const parts: Buffer[] = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => {
        seen.push({
          method: request.method ?? '',
          url: request.url ?? '',
          headers: request.rawHeaders,
          body: Buffer.concat(parts).toString('latin1'),
        });
        response.end();
      });
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  });

  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  /** What node:http reads in these bytes, until they end or it refuses. */
  async function byNode(bytes: Buffer): Promise<{ messages: typeof seen; refused: boolean }> {
    seen = [];
    const { port } = server.address() as AddressInfo;
    const text = await new Promise<string>((resolve) => {
      let got = '';
      const socket = connect(port, '127.0.0.1', () => socket.end(bytes));
      socket.on('data', (data) => {
        got += data.toString('latin1');
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(got));
    });
    return { messages: seen, refused: text.includes('HTTP/1.1 4') };
  }

  it('reads the same messages where it accepts them, and never more', async () => {
    const breakage = fc.record({ at: fc.nat(400), text: fc.constantFrom(...BREAKAGES) });
    let compared = 0;
    await fc.assert(
      fc.asyncProperty(message, fc.array(breakage, { maxLength: 1 }), async ({ text }, breakages) => {
        let sent = text;
        for (const { at, text: put } of breakages) {
          const where = at % (sent.length + 1);
          sent = sent.slice(0, where) + put + sent.slice(where);
        }
        const bytes = Buffer.from(sent, 'latin1');
        const ours = read(bytes);
        const theirs = await byNode(bytes);
        const complete = ours.messages.filter((one) => one.complete);
        if (ours.error !== null || theirs.refused) return;
        compared++;
        expect(
          complete.map(({ head, body }) => ({
            method: head.method,
            url: head.target,
            headers: head.headers,
            body,
          })),
        ).toEqual(theirs.messages);
      }),
      { numRuns: 300 },
    );
    expect(compared).toBeGreaterThan(100);
  });
});

describe('what two readers could end in different places', () => {
  const HEAD = 'POST /v1/x HTTP/1.1\r\nHost: a\r\n';
  const refused: readonly [why: string, text: string, status: number][] = [
    ['both lengths', `${HEAD}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`, 400],
    ['both, the other way round', `${HEAD}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n`, 400],
    ['two lengths', `${HEAD}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`, 400],
    ['the same length twice', `${HEAD}Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd`, 400],
    ['a list of lengths', `${HEAD}Content-Length: 4, 4\r\n\r\nabcd`, 400],
    ['a signed length', `${HEAD}Content-Length: +4\r\n\r\nabcd`, 400],
    ['a negative length', `${HEAD}Content-Length: -4\r\n\r\n`, 400],
    ['a hexadecimal length', `${HEAD}Content-Length: 0x4\r\n\r\nabcd`, 400],
    ['an empty length', `${HEAD}Content-Length:\r\n\r\n`, 400],
    ['a length with a blank', `${HEAD}Content-Length: 4 4\r\n\r\n`, 400],
    ['a length beyond what numbers hold', `${HEAD}Content-Length: 99999999999999999999\r\n\r\n`, 400],
    ['a coding that is not chunked', `${HEAD}Transfer-Encoding: gzip\r\n\r\n`, 400],
    ['chunked and another', `${HEAD}Transfer-Encoding: gzip, chunked\r\n\r\n`, 400],
    ['chunked and then another', `${HEAD}Transfer-Encoding: chunked, identity\r\n\r\n`, 400],
    ['chunked twice', `${HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n`, 400],
    ['identity', `${HEAD}Transfer-Encoding: identity\r\n\r\n`, 400],
    ['a coding in disguise', `${HEAD}Transfer-Encoding: xchunked\r\n\r\n`, 400],
    ['a coding after a vertical tab', `${HEAD}Transfer-Encoding: \x0bchunked\r\n\r\n`, 400],
    ['a blank before the colon', `${HEAD}Transfer-Encoding : chunked\r\n\r\n`, 400],
    ['a tab before the colon', `${HEAD}Content-Length\t: 4\r\n\r\n`, 400],
    ['a folded line', `${HEAD}X: a\r\n b\r\n\r\n`, 400],
    ['a folded coding', `${HEAD}Transfer-Encoding:\r\n chunked\r\n\r\n`, 400],
    ['a first header that is folded', 'GET / HTTP/1.1\r\n Host: a\r\n\r\n', 400],
    ['a line feed alone', 'GET / HTTP/1.1\nHost: a\r\n\r\n', 400],
    ['a line feed alone in a value', `${HEAD}X: a\nContent-Length: 4\r\n\r\n`, 400],
    ['a carriage return alone', `${HEAD}X: a\rContent-Length: 4\r\n\r\n`, 400],
    ['a zero byte', `${HEAD}X: a\0b\r\n\r\n`, 400],
    ['a zero byte in a name', `${HEAD}X\0: a\r\n\r\n`, 400],
    ['a header without a name', `${HEAD}: a\r\n\r\n`, 400],
    ['a header without a colon', `${HEAD}X\r\n\r\n`, 400],
    ['a name with brackets', `${HEAD}X(a): b\r\n\r\n`, 400],
    ['a name beyond ASCII', `${HEAD}Xé: b\r\n\r\n`, 400],
    ['two hosts', 'GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['the same host twice', 'GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n', 400],
    ['no host', 'GET / HTTP/1.1\r\n\r\n', 400],
    ['a blank too many', 'GET  / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a blank in the target', 'GET /a b HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a tab in the request line', 'GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a blank at the end of the line', 'GET / HTTP/1.1 \r\nHost: a\r\n\r\n', 400],
    ['no version', 'GET /\r\nHost: a\r\n\r\n', 400],
    ['a version that is none', 'GET / HTTP/1.x\r\nHost: a\r\n\r\n', 400],
    ['a lower-case version', 'GET / http/1.1\r\nHost: a\r\n\r\n', 400],
    ['a newer version', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 505],
    ['no method', ' / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a method that is none', 'G(T / HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['a method without end', `${'G'.repeat(40)} / HTTP/1.1\r\nHost: a\r\n\r\n`, 400],
    ['a target beyond ASCII', 'GET /é HTTP/1.1\r\nHost: a\r\n\r\n', 400],
    ['TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', 400],
    ['chunks in HTTP/1.0', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['another expectation', `${HEAD}Expect: 200-ok\r\n\r\n`, 417],
    ['a chunk size that is none', `${HEAD}Transfer-Encoding: chunked\r\n\r\nx\r\n`, 400],
    ['a chunk size with a sign', `${HEAD}Transfer-Encoding: chunked\r\n\r\n+1\r\na\r\n`, 400],
    ['a chunk size in 0x', `${HEAD}Transfer-Encoding: chunked\r\n\r\n0x1\r\na\r\n`, 400],
    ['a chunk size after a blank', `${HEAD}Transfer-Encoding: chunked\r\n\r\n 1\r\na\r\n`, 400],
    ['a chunk size without end', `${HEAD}Transfer-Encoding: chunked\r\n\r\n${'1'.repeat(20)}\r\n`, 400],
    ['a chunk longer than it says', `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n`, 400],
    [
      'a chunk ended by a line feed',
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\na\n0\r\n\r\n${' '.repeat(1_100)}`,
      400,
    ],
    ['a line feed in an extension', `${HEAD}Transfer-Encoding: chunked\r\n\r\n1;a\nb\r\na\r\n0\r\n\r\n`, 400],
    ['a long extension', `${HEAD}Transfer-Encoding: chunked\r\n\r\n1;${'x'.repeat(1_100)}\r\na\r\n`, 400],
    [
      'many extensions',
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n${`1;${'x'.repeat(1_000)}\r\na\r\n`.repeat(20)}0\r\n\r\n`,
      400,
    ],
    ['a broken trailer', `${HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\nX\r\n\r\n`, 400],
    ['a folded trailer', `${HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n`, 400],
    [
      'a long trailer',
      `${HEAD}Transfer-Encoding: chunked\r\n\r\n0\r\n${`X: ${'x'.repeat(1_000)}\r\n`.repeat(20)}\r\n`,
      431,
    ],
    ['a head beyond its bound', `${HEAD}X: ${'x'.repeat(HEAD_BYTES)}\r\n\r\n`, 431],
    ['a head without end', `${HEAD}X: ${'x'.repeat(2 * HEAD_BYTES)}`, 431],
    ['too many headers', `${HEAD}${'a:\r\n'.repeat(600)}\r\n`, 431],
  ];

  it.each(refused)('is refused: %s', (_why, text, status) => {
    const seen = readText(text);
    expect(seen.error).toBeInstanceOf(RequestSyntaxError);
    expect(seen.status).toBe(status);
    expect(seen.messages.every((one) => !one.complete)).toBe(true);
    for (const cut of [1, Math.floor(text.length / 2), text.length - 1]) {
      expect(read(Buffer.from(text, 'latin1'), [cut]).status).toBe(status);
    }
  });

  it('is taken in one way only where it is allowed', () => {
    const taken: readonly [text: string, body: string][] = [
      [`${HEAD}Content-Length: 004\r\n\r\nabcd`, 'abcd'],
      [`${HEAD}Transfer-Encoding: Chunked\r\n\r\n1;a=b\r\na\r\n0\r\nX: y\r\n\r\n`, 'a'],
      [`${HEAD}Transfer-Encoding:\tchunked \r\n\r\n01\r\na\r\n0\r\n\r\n`, 'a'],
      [`\r\n\r\n${HEAD}Content-Length: 0\r\n\r\n`, ''],
      ['GET / HTTP/1.0\r\n\r\n', ''],
      [`${HEAD}X:\r\nContent-Length:4\r\n\r\nabcd`, 'abcd'],
    ];
    for (const [text, sent] of taken) {
      const seen = readText(text);
      expect(seen.error, text).toBeNull();
      expect(seen.messages.map(({ body, complete }) => [body, complete])).toEqual([[sent, true]]);
    }
  });

  it('keeps a connection only where both sides say so', () => {
    const keeps = (text: string): boolean | undefined => readText(text).messages[0]?.head.keepAlive;
    expect(keeps('GET / HTTP/1.1\r\nHost: a\r\n\r\n')).toBe(true);
    expect(keeps('GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n')).toBe(false);
    expect(keeps('GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, close\r\n\r\n')).toBe(false);
    expect(keeps('GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n')).toBe(
      false,
    );
    expect(keeps('GET / HTTP/1.0\r\n\r\n')).toBe(false);
    expect(keeps('GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')).toBe(true);
  });
});
