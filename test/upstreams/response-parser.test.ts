import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ResponseParser, ResponseSyntaxError } from '../../src/upstreams/http1/response-parser.ts';

interface Read {
  heads: { status: number; headers: readonly string[] }[];
  body: string;
  complete: number;
  reusable: boolean;
  error: unknown;
}

/** Reads bytes cut into pieces, as one answer to one request, and then the close of the connection. */
function read(sent: Buffer, cuts: readonly number[] = [], method = 'GET', closes = false): Read {
  // The parser may move what it is given.
  const bytes = Buffer.from(sent);
  const seen: Read = { heads: [], body: '', complete: 0, reusable: false, error: null };
  const parser = new ResponseParser(
    {
      head: (head) => seen.heads.push(head),
      data: (chunk) => {
        seen.body += chunk.toString('latin1');
      },
      complete: (reusable) => {
        seen.complete++;
        seen.reusable = reusable;
      },
    },
    8_192,
  );
  parser.expect(method);
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  try {
    for (const [i, from] of [0, ...at].entries()) parser.push(bytes.subarray(from, at[i] ?? bytes.length));
    if (closes) parser.closed();
  } catch (error) {
    seen.error = error;
  }
  return seen;
}

const cuts = fc.array(fc.nat(20_000), { maxLength: 30 });
const token = fc.string({ unit: fc.constantFrom(...'abcXYZ019-_'), minLength: 1, maxLength: 12 });
const fieldValue = fc.string({ unit: fc.constantFrom(...'abc XYZ,;="/:019'), maxLength: 30 });
const reserved =
  /^(content-length|transfer-encoding|connection|date|keep-alive|trailer|upgrade|set-cookie)$/i;

/** What Node's own server writes for an answer: the model that the parser must agree with. */
async function written(write: (response: ServerResponse) => void): Promise<Buffer> {
  const server = createServer((_request, response) => write(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const parts: Buffer[] = [];
    const socket = connect(port, '127.0.0.1', () =>
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'),
    );
    socket.on('data', (part) => parts.push(part));
    socket.on('close', () => resolve(Buffer.concat(parts)));
    socket.on('error', reject);
  });
  server.close();
  return bytes;
}

describe('reading answers', () => {
  it('reads what Node’s server writes, however it arrives', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.record({
          status: fc.constantFrom(200, 201, 204, 304, 400, 404, 429, 500, 503),
          headers: fc.dictionary(
            token.filter((name) => !reserved.test(name)),
            fieldValue,
            { maxKeys: 6 },
          ),
          pieces: fc.array(fc.string({ unit: 'binary-ascii', minLength: 1, maxLength: 3_000 }), {
            maxLength: 5,
          }),
          chunked: fc.boolean(),
        }),
        cuts,
        async ({ status, headers, pieces, chunked }, at) => {
          const hasBody = status !== 204 && status !== 304;
          const body = hasBody ? pieces.join('') : '';
          const bytes = await written((response) => {
            response.sendDate = false;
            response.writeHead(
              status,
              chunked || !hasBody ? headers : { ...headers, 'content-length': Buffer.byteLength(body) },
            );
            if (hasBody) for (const piece of pieces) response.write(piece);
            response.end();
          });
          const seen = read(bytes, at);
          expect(seen.error).toBeNull();
          expect(seen.heads[0]?.status).toBe(status);
          const flat = seen.heads[0]?.headers ?? [];
          for (const [name, value] of Object.entries(headers)) {
            const index = flat.findIndex((text, i) => i % 2 === 0 && text === name.toLowerCase());
            expect(index).toBeGreaterThanOrEqual(0);
            if (
              Object.keys(headers).filter((other) => other.toLowerCase() === name.toLowerCase()).length === 1
            ) {
              expect(flat[index + 1]).toBe(value.trim());
            }
          }
          expect(seen.body).toBe(body);
          expect(seen.complete).toBe(1);
        },
      ),
      { numRuns: 40 },
    );
  });

  it('finds the same in the same bytes whatever the pieces', () => {
    const bytes = Buffer.from(
      'HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX: y\r\n\r\n' +
        '5;ext="a"\r\nhello\r\n00001\r\n!\r\nA\r\n0123456789\r\n0\r\nTrailer: z\r\n\r\n',
    );
    fc.assert(
      fc.property(cuts, (at) => {
        const seen = read(bytes, at);
        expect(seen).toMatchObject({ body: 'hello!0123456789', complete: 1, reusable: true, error: null });
        expect(seen.heads.map((head) => head.status)).toEqual([200]);
      }),
    );
  });

  it('never throws anything but a syntax error, and never completes twice, whatever the bytes', () => {
    const start = fc.constantFrom(
      'HTTP/1.1 200 OK\r\n',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n',
      '',
    );
    fc.assert(
      fc.property(start, fc.uint8Array({ maxLength: 300 }), cuts, (head, noise, at) => {
        const seen = read(Buffer.concat([Buffer.from(head), noise]), at);
        if (seen.error !== null) expect(seen.error).toBeInstanceOf(ResponseSyntaxError);
        expect(seen.complete).toBeLessThanOrEqual(1);
      }),
    );
  });

  it('takes the close of the connection for the end only where nothing else says the end', () => {
    expect(read(Buffer.from('HTTP/1.1 200 OK\r\n\r\nabc'), [], 'GET', true)).toMatchObject({
      body: 'abc',
      complete: 1,
      reusable: false,
    });
    expect(
      read(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc'), [], 'GET', true),
    ).toMatchObject({ complete: 0 });
    expect(
      read(Buffer.from('HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n'), [], 'GET', true),
    ).toMatchObject({ complete: 0 });
  });

  it('does not use a connection again on which more came, or whose peer said close, or of HTTP/1.0', () => {
    const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\n';
    expect(read(Buffer.from(`${ok}\r\nabc`)).reusable).toBe(true);
    expect(read(Buffer.from(`${ok}\r\nabcHTTP/1.1 200 OK\r\n`)).reusable).toBe(false);
    expect(read(Buffer.from(`${ok}Connection: Close\r\n\r\nabc`)).reusable).toBe(false);
    expect(read(Buffer.from('HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc')).reusable).toBe(false);
    expect(read(Buffer.from('HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1')).reusable).toBe(false);
    expect(read(Buffer.from('HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n'), [], 'HEAD')).toMatchObject({
      complete: 1,
      reusable: true,
    });
  });

  it.each([
    ['both lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a repeated length', 'HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\n'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n'],
    ['a hexadecimal length', 'HTTP/1.1 200 OK\r\nContent-Length: 0x3\r\n\r\n'],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['a coding twice', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n'],
    ['a bare line feed', 'HTTP/1.1 200 OK\r\nX: a\nContent-Length: 3\r\n\r\n'],
    ['a NUL', 'HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n'],
    ['a switch of protocols', 'HTTP/1.1 101 Switching Protocols\r\n\r\n'],
    ['another protocol', 'HTTP/2 200\r\n\r\n'],
    ['no status', 'HTTP/1.1 OK\r\n\r\n'],
    ['a signed chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+3\r\nabc\r\n'],
    ['a prefixed chunk size', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n'],
    ['a chunk longer than it says', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n'],
    [
      'a bare line feed after a size',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\r\n0\r\n\r\n',
    ],
    ['a head without end', `HTTP/1.1 200 OK\r\nX: ${'a'.repeat(10_000)}`],
    [
      'a chunk frame without end',
      `HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;${'a'.repeat(10_000)}`,
    ],
  ])('refuses %s', (_what, text) => {
    fc.assert(
      fc.property(cuts, (at) => {
        expect(read(Buffer.from(text, 'latin1'), at).error).toBeInstanceOf(ResponseSyntaxError);
      }),
      { numRuns: 20 },
    );
  });
});
