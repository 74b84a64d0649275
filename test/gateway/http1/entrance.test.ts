// Callers' connections: what is sent is answered, once and in order, and nobody holds a connection for nothing.

import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { Entrance } from '../../../src/gateway/http1/entrance.ts';
import type { Peer } from '../../../src/gateway/peer.ts';
import { ManualClock } from '../../../src/platform/clock.ts';

interface House {
  readonly server: Server;
  readonly entrance: Entrance;
  readonly clock: ManualClock;
  readonly port: number;
  /** Calls whose connection let go of them. */
  gone: number;
}

let house: House;
const sockets: Socket[] = [];

async function open(take: (peer: Peer) => void): Promise<House> {
  const clock = new ManualClock();
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => response.end(`node ${request.url} ${Buffer.concat(parts)}`));
  });
  const entrance = new Entrance(server, {
    clock,
    headerBytes: 16_384,
    headMs: 1_000,
    idleMs: 3_000,
    isRoads: (target) => !target.startsWith('/node'),
    take: (peer) => {
      peer.watch({ drained: () => {}, gone: () => house.gone++ });
      take(peer);
    },
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  house = { server, entrance, clock, port: (server.address() as AddressInfo).port, gone: 0 };
  return house;
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  house.entrance.closeAll();
  house.server.closeAllConnections();
  await new Promise((resolve) => house.server.close(resolve));
});

/** Says back what it was sent, once all of it has come. */
function echo(peer: Peer): void {
  const parts: Buffer[] = [];
  peer.readBody({
    data: (chunk) => parts.push(chunk),
    end: () => peer.answer(200, 'x-a: b\r\n', Buffer.from(`${peer.target} ${Buffer.concat(parts)}`)),
  });
}

class Caller {
  got = '';
  closed = false;
  readonly socket: Socket;

  constructor() {
    this.socket = connect(house.port, '127.0.0.1');
    sockets.push(this.socket);
    this.socket.on('data', (data) => {
      this.got += data.toString('latin1');
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.closed = true;
    });
  }

  send(text: string): void {
    this.socket.write(text, 'latin1');
  }

  async until(done: () => boolean): Promise<void> {
    for (let tries = 0; tries < 1_000 && !done(); tries++)
      await new Promise((resolve) => setTimeout(resolve, 2));
    expect(done(), this.got).toBe(true);
  }

  untilGot(text: string): Promise<void> {
    return this.until(() => this.got.includes(text));
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));
const get = (path: string, extra = ''): string => `GET ${path} HTTP/1.1\r\nHost: a\r\n${extra}\r\n`;
const post = (path: string, body: string, extra = ''): string =>
  `POST ${path} HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n${extra}\r\n${body}`;

describe('a connection', () => {
  it('carries one call after another, and calls sent ahead are answered in order', async () => {
    await open(echo);
    const caller = new Caller();
    caller.send(post('/1', 'one') + get('/2') + post('/3', 'three') + get('/4'));
    await caller.untilGot('/4 ');
    const replies = caller.got.split('HTTP/1.1 ').slice(1);
    expect(replies.map((reply) => reply.split('\r\n\r\n')[1])).toEqual(['/1 one', '/2 ', '/3 three', '/4 ']);
    for (const reply of replies)
      expect(reply).toMatch(/^200 OK\r\nx-a: b\r\ndate: .* GMT\r\nconnection: keep-alive\r\n/);
    await caller.until(() => house.gone === 4);
  });

  it('answers calls sent ahead only when the one before is answered', async () => {
    const waiting: Peer[] = [];
    await open((peer) => waiting.push(peer));
    const caller = new Caller();
    caller.send(get('/1') + get('/2'));
    await caller.until(() => waiting.length === 1);
    await turn();
    expect(waiting.length).toBe(1);
    waiting[0]?.answer(200, '', Buffer.from('first'));
    await caller.until(() => waiting.length === 2);
    waiting[1]?.answer(200, '', Buffer.from('second'));
    await caller.untilGot('second');
    expect(caller.got.indexOf('first')).toBeLessThan(caller.got.indexOf('second'));
  });

  it('streams in chunks, which are put together again as they were', async () => {
    await open((peer) => {
      peer.begin(200, '', -1);
      peer.write(Buffer.from('one '));
      setTimeout(() => {
        peer.write(Buffer.alloc(100_000, 'x'));
        peer.end(Buffer.from(' two'));
      }, 5);
    });
    const reply = await fetch(`http://127.0.0.1:${house.port}/`);
    expect(await reply.text()).toBe(`one ${'x'.repeat(100_000)} two`);
  });

  it('ends after the reply where the caller asks for that, or speaks HTTP/1.0', async () => {
    await open((peer) => {
      peer.begin(200, '', -1);
      peer.end(Buffer.from('all'));
    });
    for (const text of [get('/', 'Connection: close\r\n'), 'GET / HTTP/1.0\r\n\r\n']) {
      const caller = new Caller();
      caller.send(text);
      await caller.until(() => caller.closed);
      expect(caller.got).toMatch(/connection: close\r\n/);
      expect(caller.got).toContain('all');
      expect(caller.got.includes('chunked')).toBe(!text.includes('1.0'));
    }
  });

  it('gives a head and no body to HEAD, and neither length nor body to 204', async () => {
    await open((peer) => peer.answer(peer.method === 'HEAD' ? 200 : 204, '', Buffer.from('text')));
    const caller = new Caller();
    caller.send('HEAD / HTTP/1.1\r\nHost: a\r\n\r\n');
    await caller.untilGot('content-length: 4\r\n\r\n');
    caller.send(get('/'));
    await caller.untilGot('204 No Content');
    await turn();
    expect(caller.got).not.toContain('text');
    expect(caller.got.split('204')[1]).not.toContain('content-length');
  });

  it('says 100 Continue when the body is wanted, and not before', async () => {
    const waiting: Peer[] = [];
    await open((peer) => waiting.push(peer));
    const caller = new Caller();
    caller.send('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n');
    await caller.until(() => waiting.length === 1);
    await turn();
    expect(caller.got).toBe('');
    const [peer] = waiting;
    if (peer !== undefined) echo(peer);
    await caller.untilGot('HTTP/1.1 100 Continue\r\n\r\n');
    caller.send('body');
    await caller.untilGot('/x body');
  });

  it('ends after a refusal for which no body was sent', async () => {
    await open((peer) => peer.answer(401, '', Buffer.from('no')));
    const caller = new Caller();
    caller.send('POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n');
    await caller.until(() => caller.closed);
    expect(caller.got).toMatch(/^HTTP\/1.1 401 .*connection: close/s);
  });

  it('keeps the body for a reader that comes late', async () => {
    await open((peer) => setTimeout(() => echo(peer), 20));
    const caller = new Caller();
    caller.send(post('/late', 'x'.repeat(200_000)));
    await caller.untilGot('x'.repeat(200_000));
  });

  it('reads the rest of a refused body, and goes on', async () => {
    await open((peer) => (peer.target === '/no' ? peer.answer(413, '', Buffer.from('no')) : echo(peer)));
    const caller = new Caller();
    caller.send('POST /no HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n');
    await caller.untilGot('413');
    caller.send('x'.repeat(300_000) + post('/yes', 'fine'));
    await caller.untilGot('/yes fine');
  });

  it('goes on with node:http at the first request that is another’s, and nothing of it is lost', async () => {
    await open(echo);
    const caller = new Caller();
    caller.send(post('/1', 'one') + post('/node/a', 'two') + post('/node/b', 'three') + post('/4', 'four'));
    await caller.untilGot('node /4 four');
    expect(caller.got).toContain('/1 one');
    expect(caller.got).toContain('node /node/a two');
    expect(caller.got).toContain('node /node/b three');
    expect(house.entrance.size).toBe(0);
  });

  it('goes on with node:http however the head of that request is cut', async () => {
    await open(echo);
    const caller = new Caller();
    for (const piece of [
      'PO',
      'ST /node/a HTTP/1.1\r\nHo',
      'st: a\r\nContent-Le',
      'ngth: 3\r\n\r',
      '\nab',
      'c',
    ]) {
      caller.send(piece);
      await turn();
    }
    await caller.untilGot('node /node/a abc');
  });
});

describe('a caller', () => {
  it('that sends what is no HTTP learns it in the API’s shape', async () => {
    await open(echo);
    const caller = new Caller();
    caller.send('hello\r\n\r\n');
    await caller.until(() => caller.closed);
    expect(caller.got).toMatch(
      /^HTTP\/1.1 400 Bad Request\r\n.*connection: close\r\n\r\n\{"error":\{"message":/s,
    );
  });

  it('that breaks off a body which is malformed gets no second reply', async () => {
    await open(echo);
    const caller = new Caller();
    caller.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n');
    await caller.until(() => caller.closed);
    expect(caller.got.match(/HTTP\/1.1/g)?.length).toBe(1);
    expect(caller.got).toContain('400');
    expect(house.gone).toBe(1);
  });

  it('that goes away, or only closes its side, before its reply is let go of', async () => {
    const waiting: Peer[] = [];
    await open((peer) => waiting.push(peer));
    for (const leave of [(socket: Socket) => socket.destroy(), (socket: Socket) => socket.end()]) {
      const before = house.gone;
      const caller = new Caller();
      caller.send(get('/'));
      await caller.until(() => waiting.length > 0);
      waiting.length = 0;
      leave(caller.socket);
      await caller.until(() => house.gone === before + 1);
    }
    // What is said to it afterwards goes to nobody.
    waiting[0]?.answer(200, '', Buffer.from('late'));
  });

  it('that reads slowly holds the writer up, and no more than it reads is kept', async () => {
    let full = 0;
    let drained = 0;
    await open((peer) => {
      peer.begin(200, '', -1);
      let left = 300;
      const more = (): void => {
        while (left-- > 0) {
          if (!peer.write(Buffer.alloc(50_000))) {
            full++;
            expect(peer.unsent).toBeLessThan(400_000);
            return;
          }
        }
        peer.end(null);
      };
      peer.watch({
        drained: () => {
          drained++;
          more();
        },
        gone: () => house.gone++,
      });
      more();
    });
    const caller = new Caller();
    let bytes = 0;
    caller.socket.removeAllListeners('data');
    caller.socket.pause();
    caller.send(get('/', 'Connection: close\r\n'));
    await turn();
    expect(full).toBeGreaterThan(0);
    caller.socket.on('data', (data) => {
      bytes += data.length;
    });
    caller.socket.resume();
    await caller.until(() => caller.closed);
    expect(bytes).toBeGreaterThan(15_000_000);
    expect(drained).toBe(full);
  });

  it('that sends no head in time is told so, and one that sends nothing is let go of', async () => {
    const { clock, entrance } = await open(echo);
    const silent = new Caller();
    const slow = new Caller();
    const kept = new Caller();
    slow.send('GET / HTTP/1.1\r\nHo');
    kept.send(get('/kept'));
    await kept.untilGot('/kept');
    await turn();
    clock.advance(1_500);
    entrance.sweep();
    await slow.until(() => slow.closed);
    expect(slow.got).toMatch(/^HTTP\/1.1 408 /);
    slow.got = '';
    kept.send(get('/again'));
    await kept.untilGot('/again');
    clock.advance(2_000);
    entrance.sweep();
    await silent.until(() => silent.closed);
    expect(kept.closed).toBe(false);
    clock.advance(4_000);
    entrance.sweep();
    await kept.until(() => kept.closed);
  });

  it('that is answered while the server stops gets its whole reply, and its connection ends', async () => {
    const waiting: Peer[] = [];
    const { entrance } = await open((peer) => waiting.push(peer));
    const busy = new Caller();
    const idle = new Caller();
    busy.send(get('/'));
    await busy.until(() => waiting.length === 1);
    entrance.stop();
    await idle.until(() => idle.closed);
    waiting[0]?.answer(200, '', Buffer.from('last'));
    await busy.until(() => busy.closed);
    expect(busy.got).toMatch(/connection: close\r\n.*last$/s);
  });
});
