// A TCP proxy in front of a server, to take that server away and bring it back: refused, cut, or silent.

import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';

export interface FlakyProxy {
  readonly port: number;
  /** New connections are refused and those that are open are cut. */
  stop(): Promise<void>;
  /** Connections are accepted and stay open, but nothing goes through any more, either way. */
  silence(): void;
  start(): Promise<void>;
}

export async function flakyProxy(host: string, port: number): Promise<FlakyProxy> {
  const sockets = new Set<Socket>();
  let silent = false;
  const server = createServer((near) => {
    const far = connect(port, host);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.on('data', (bytes) => {
        if (!silent) to.write(bytes);
      });
      from.on('close', () => {
        sockets.delete(from);
        to.destroy();
      });
      from.on('error', () => {});
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('The proxy has no port.');
  return {
    port: address.port,
    stop: async () => {
      silent = false;
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
    silence: () => {
      silent = true;
    },
    start: async () => {
      silent = false;
      server.listen(address.port, '127.0.0.1');
      await once(server, 'listening');
    },
  };
}
