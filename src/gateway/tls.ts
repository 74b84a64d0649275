// TLS as a layer below the listeners: it ends here, and the plain connection within is handed to the server that speaks
// HTTP. Clients are asked for a certificate, and need not have one; who accepts which is decided with the key
// (src/identity), because it differs by project.
//
// The certificate and its key are read again when their files change, so that a renewal needs no restart; new files
// that cannot be used are reported, and the old ones stay. No session is resumed: a resumed one would bring along what
// was found out about its certificate before.

import { constants } from 'node:crypto';
import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import type { Server } from 'node:net';
import {
  createSecureContext,
  createServer,
  type SecureContextOptions,
  type Server as TlsServer,
} from 'node:tls';
import type { TlsConfig } from '../config/model.ts';
import { SetupError } from '../platform/errors.ts';

const HANDSHAKE_MS = 10_000;
const LOOK_MS = 2_000;

export interface Secured {
  readonly server: TlsServer;
  /** Takes no more connections, and looks at the files no more. */
  stop(): void;
}

/** A TLS server whose connections `inner` serves. Throws SetupError when the files cannot be used. */
export function secured(config: TlsConfig, inner: Server, onError: (error: unknown) => void): Secured {
  const server = createServer(
    {
      ...contextOf(config),
      requestCert: true,
      rejectUnauthorized: false,
      handshakeTimeout: HANDSHAKE_MS,
      ALPNProtocols: ['http/1.1'],
    },
    (socket) => inner.emit('connection', socket),
  );
  server.maxConnections = inner.maxConnections;
  // A client that breaks off its handshake is no fault of ours; its socket is closed by then.
  server.on('tlsClientError', (_, socket) => socket.destroy());
  const renew = () => {
    try {
      server.setSecureContext(contextOf(config));
    } catch (error) {
      onError(error);
    }
  };
  const files = new Set([config.cert, config.key]);
  for (const file of files) watchFile(file, { interval: LOOK_MS, persistent: false }, renew);
  return {
    server,
    stop: () => {
      server.close();
      for (const file of files) unwatchFile(file, renew);
    },
  };
}

function contextOf({ cert, key }: TlsConfig): SecureContextOptions {
  const options: SecureContextOptions = {
    cert: read(cert, 'tls.cert'),
    key: read(key, 'tls.key'),
    minVersion: 'TLSv1.2',
    secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    honorCipherOrder: true,
  };
  try {
    createSecureContext(options);
  } catch {
    throw new SetupError(
      'tls.cert and tls.key do not make a server certificate: both must be PEM, and the key must belong to the first certificate.',
    );
  }
  return options;
}

function read(path: string, name: string): Buffer {
  try {
    return readFileSync(path);
  } catch {
    throw new SetupError(`${name} names a file that cannot be read: ${JSON.stringify(path)}.`);
  }
}
