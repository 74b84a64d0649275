// A TCP proxy in front of a server, which a test can make refuse, cut or fall silent.

import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

export interface TestProxy {
  readonly url: string;
  /** Connections accepted so far. */
  readonly accepted: () => number;
  /** Bytes arrive and are never answered; new connections too. */
  silence(): void;
  /** Connections are cut, and new ones at once. */
  cut(): void;
  /** As before; what was held back while silent goes on. */
  restore(): void;
  close(): Promise<void>;
}

export async function proxyTo(url: string): Promise<TestProxy> {
  const target = new URL(url);
  let mode: 'through' | 'silent' | 'cut' = 'through';
  let accepted = 0;
  const pairs = new Set<readonly [Socket, Socket]>();
  const server = createServer((client) => {
    accepted++;
    if (mode === 'cut') {
      client.destroy();
      return;
    }
    const upstream = connect(Number(target.port || 6379), target.hostname);
    const pair = [client, upstream] as const;
    pairs.add(pair);
    if (mode === 'silent') upstream.pause();
    upstream.on('data', (chunk) => client.write(chunk));
    client.on('data', (chunk) => upstream.write(chunk));
    for (const socket of pair) {
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        pairs.delete(pair);
        client.destroy();
        upstream.destroy();
      });
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  // The same address but for the port: who speaks to the server is said in it, too.
  const through = new URL(url);
  through.port = String(port);
  return {
    url: through.href,
    accepted: () => accepted,
    silence: () => {
      mode = 'silent';
      for (const [, upstream] of pairs) upstream.pause();
    },
    cut: () => {
      mode = 'cut';
      for (const [client] of pairs) client.destroy();
    },
    restore: () => {
      mode = 'through';
      for (const [, upstream] of pairs) upstream.resume();
    },
    close: () => {
      for (const [client] of pairs) client.destroy();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}
