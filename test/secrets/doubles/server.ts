// What the doubles of clouds share: one HTTP server on loopback, what it was asked, and a key that can be disabled.

import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { createServer, type IncomingHttpHeaders } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface Answered {
  readonly status: number;
  readonly json?: unknown;
  readonly text?: string;
  readonly bytes?: Buffer;
  readonly headers?: Record<string, string>;
}

export interface Double {
  readonly url: string;
  readonly asked: Asked[];
  /** No request gets an answer: the connection is cut. */
  away: boolean;
  close(): Promise<void>;
}

export async function startDouble(answer: (asked: Asked) => Answered | Promise<Answered>): Promise<Double> {
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('error', () => {});
    request.on('end', async () => {
      if (double.away) return request.socket.destroy();
      const asked: Asked = {
        method: request.method ?? '',
        url: request.url ?? '',
        headers: request.headers,
        body: Buffer.concat(parts),
      };
      double.asked.push(asked);
      let answered: Answered;
      try {
        answered = await answer(asked);
      } catch (error) {
        answered = { status: 500, text: error instanceof Error ? error.message : 'the double failed' };
      }
      const body =
        answered.json !== undefined ? JSON.stringify(answered.json) : (answered.bytes ?? answered.text ?? '');
      response.writeHead(answered.status, {
        ...(answered.json !== undefined && { 'content-type': 'application/json' }),
        ...answered.headers,
      });
      response.end(request.method === 'HEAD' ? undefined : body);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const double: Double = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked: [],
    away: false,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
  return double;
}

/** A symmetric key of a key service: encrypts with associated data, and can be disabled. */
export class ServiceKey {
  enabled = true;
  readonly #key = randomBytes(32);

  encrypt(plain: Buffer, context: string): Buffer {
    const nonce = randomBytes(12);
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(Buffer.from(context));
    return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()]);
  }

  /** Undefined when it was encrypted by another key, or with another context. */
  decrypt(sealed: Buffer, context: string): Buffer | undefined {
    try {
      const decipher = createDecipheriv('aes-256-gcm', this.#key, sealed.subarray(0, 12))
        .setAAD(Buffer.from(context))
        .setAuthTag(sealed.subarray(-16));
      return Buffer.concat([decipher.update(sealed.subarray(12, -16)), decipher.final()]);
    } catch {
      return undefined;
    }
  }
}
