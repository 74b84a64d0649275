import { readFileSync } from 'node:fs';
import { createServer, type RequestListener } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { isPublic, type Resolve } from '../../src/platform/addresses.ts';
import { OutgoingError, type OutgoingRequest, outgoing } from '../../src/platform/outgoing.ts';

const pem = (name: string) => readFileSync(new URL(`../harness/tls/${name}`, import.meta.url), 'utf8');
const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(answer: RequestListener, secure = false): Promise<number> {
  const server = secure
    ? createTlsServer({ key: pem('server.key'), cert: pem('server.pem') }, answer)
    : createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

const at =
  (...addresses: string[]): Resolve =>
  async () =>
    addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 }));

async function fault(work: Promise<unknown>): Promise<OutgoingError> {
  const error: unknown = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error instanceof OutgoingError) return error;
  throw new Error(`no refusal: ${String(error)}`);
}

describe('where a request that people configured may go', () => {
  test.each([
    '127.0.0.1',
    '10.1.2.3',
    '172.16.0.1',
    '192.168.1.1',
    '100.64.0.1',
    '169.254.169.254',
    '0.0.0.0',
    '255.255.255.255',
    '224.0.0.1',
    '198.18.0.1',
    '203.0.113.1',
    '::1',
    '::',
    'fe80::1',
    'fd00:ec2::254',
    'fec0::1',
    '::ffff:127.0.0.1',
    '::ffff:169.254.169.254',
    '::127.0.0.1',
    '64:ff9b::a9fe:a9fe',
    '64:ff9b:1::1',
    '2002:7f00:1::',
    '2001:0:1::1',
    '2001:db8::1',
    '5f00::1',
    '4000::1',
  ])('a name that stands for %s is refused, and nothing is sent', async (address) => {
    expect(isPublic(address)).toBe(false);
    const client = outgoing({ allowPrivate: [], resolve: at(address) });
    const refused = await fault(client.send({ url: 'https://hooks.example.test/secret-path?token=t' }));
    expect(refused.fault).toBe('not_allowed');
    expect(refused.message).toContain('outgoing.allow_private');
    expect(refused.message).not.toMatch(/secret-path|token/);
  });

  test.each([
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://[::ffff:10.0.0.1]/',
    'http://example.com/',
  ])('an address written as %s is refused before and when it is used', async (url) => {
    const client = outgoing({ allowPrivate: [], resolve: at('127.0.0.1') });
    expect(client.flaw(url)).not.toBeNull();
    expect((await fault(client.send({ url }))).fault).toBe('not_allowed');
  });

  test.each(['ftp://example.com/', 'https://user:secret@example.com/', 'nonsense', 'file:///etc/passwd'])(
    '%s is no address to send to',
    async (url) => {
      const client = outgoing({ allowPrivate: [] });
      expect(client.flaw(url)).not.toBeNull();
      const refused = await fault(client.send({ url }));
      expect(refused.fault).toBe('url');
      expect(refused.message).not.toContain('secret');
    },
  );

  test('a range or a name that the configuration lists is reached, also without TLS; others are not', async () => {
    const port = await serve((_, response) => response.end('ok'));
    const url = `http://hooks.example.test:${port}/`;
    for (const allowPrivate of [['127.0.0.0/8'], ['127.0.0.1'], ['hooks.example.test']]) {
      const client = outgoing({ allowPrivate, resolve: at('127.0.0.1') });
      expect(client.flaw(url)).toBeNull();
      expect((await client.send({ url })).status).toBe(200);
    }
    for (const allowPrivate of [['10.0.0.0/8'], ['other.example.test'], ['::1/128']]) {
      const client = outgoing({ allowPrivate, resolve: at('127.0.0.1') });
      expect((await fault(client.send({ url }))).fault).toBe('not_allowed');
    }
  });

  test('a name that changes its mind is asked once: the connection goes to what was checked', async () => {
    const port = await serve((_, response) => response.end('first'));
    let asked = 0;
    const client = outgoing({
      allowPrivate: ['127.0.0.1'],
      resolve: async () => [{ address: asked++ === 0 ? '127.0.0.1' : '127.0.0.2', family: 4 }],
    });
    const reply = await client.send({ url: `http://rebind.example.test:${port}/` });
    expect([reply.body.toString(), asked]).toEqual(['first', 1]);
  });

  test('of several addresses only those that may be used are', async () => {
    const client = outgoing({ allowPrivate: ['127.0.0.1'], resolve: at('169.254.169.254', '127.0.0.1') });
    expect(await client.reach('mixed.example.test')).toEqual([{ address: '127.0.0.1', family: 4 }]);
  });
});

describe('what it holds to on the way', () => {
  const local = (over: Partial<OutgoingRequest> & { url: string }) =>
    outgoing({ allowPrivate: ['127.0.0.1'], resolve: at('127.0.0.1') }).send(over);

  test("TLS is checked against the host's name, although the address is pinned", async () => {
    const port = await serve((request, response) => response.end(request.headers.host), true);
    const tls = { ca: pem('ca.pem') };
    const good = await local({ url: `https://hooks.example.test:${port}/`, tls });
    expect(good.body.toString()).toBe(`hooks.example.test:${port}`);
    expect((await fault(local({ url: `https://other.example.test:${port}/`, tls }))).fault).toBe('tls');
    expect((await fault(local({ url: `https://hooks.example.test:${port}/` }))).fault).toBe('tls');
  });

  test('a redirect is given back and not followed', async () => {
    let asked = 0;
    const port = await serve((_, response) => {
      asked++;
      response.writeHead(302, { location: 'http://169.254.169.254/latest/meta-data' }).end();
    });
    expect((await local({ url: `http://h.example.test:${port}/` })).status).toBe(302);
    expect(asked).toBe(1);
  });

  test('a reply beyond its bound, or its time, is cut off', async () => {
    const port = await serve((request, response) => {
      if (request.url === '/slow') return;
      response.write('x'.repeat(4000));
      if (request.url === '/long') response.end('x'.repeat(4000));
    });
    const url = (path: string) => `http://h.example.test:${port}${path}`;
    expect((await fault(local({ url: url('/long'), maxBytes: 5000 }))).fault).toBe('too_large');
    expect((await local({ url: url('/long'), maxBytes: 8000 })).body).toHaveLength(8000);
    expect((await fault(local({ url: url('/slow'), timeoutMs: 50 }))).fault).toBe('timeout');
    expect((await fault(local({ url: url('/dribble'), timeoutMs: 50 }))).fault).toBe('timeout');
    const given = AbortSignal.abort();
    expect((await fault(local({ url: url('/slow'), signal: given }))).fault).toBe('aborted');
  });

  test('a name that never resolves ends with the time, too', async () => {
    const client = outgoing({ allowPrivate: [], resolve: () => new Promise(() => {}) });
    const late = await fault(client.send({ url: 'https://stuck.example.test/', timeoutMs: 50 }));
    expect(late.fault).toBe('timeout');
  });

  test('nobody there, and nobody of that name', async () => {
    expect((await fault(local({ url: 'http://h.example.test:1/key' }))).fault).toBe('connect');
    const client = outgoing({ allowPrivate: [], resolve: () => Promise.reject(new Error('ENOTFOUND')) });
    expect((await fault(client.send({ url: 'https://none.example.test/' }))).fault).toBe('unresolved');
  });

  test('its fetch carries method, headers and body, for libraries that take one', async () => {
    const port = await serve(async (request, response) => {
      let body = '';
      for await (const chunk of request) body += String(chunk);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ method: request.method, kind: request.headers['content-type'], body }));
    });
    const { fetch } = outgoing({ allowPrivate: ['127.0.0.1'], resolve: at('127.0.0.1') });
    const reply = await fetch(`http://h.example.test:${port}/token`, {
      method: 'POST',
      body: new URLSearchParams({ a: '1' }),
    });
    expect(await reply.json()).toEqual({
      method: 'POST',
      kind: 'application/x-www-form-urlencoded;charset=UTF-8',
      body: 'a=1',
    });
  });
});
