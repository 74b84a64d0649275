// What a new key is bound to: `--dpop FILE`, a private key of the client's own, which is made if the file is not there,
// or `--certificate FILE`, its client certificate. Only the thumbprint goes to the server.

import { generateKeyPairSync, hash, X509Certificate } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dpopThumbprint } from '../client/dpop.ts';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';

export interface BindingOptions {
  readonly dpop?: string;
  readonly certificate?: string;
}

/** The `cnf` of the request; undefined when nothing was asked for. */
export function bindingOf(io: Io, { dpop, certificate }: BindingOptions): object | undefined {
  if (dpop !== undefined && certificate !== undefined) {
    throw new CommandError(EXIT.usage, 'A key is bound to one thing: --dpop or --certificate, not both.');
  }
  if (dpop !== undefined) return { jkt: thumbprintOfKey(io, dpop) };
  if (certificate !== undefined) return { 'x5t#S256': thumbprintOfCertificate(certificate) };
  return undefined;
}

function thumbprintOfKey(io: Io, path: string): string {
  if (!existsSync(path)) makeKey(io, path);
  try {
    return dpopThumbprint(path);
  } catch {
    throw new CommandError(
      EXIT.usage,
      `${path} holds no private key that DPoP can be done with: it must be a JWK or a PEM of P-256 or Ed25519.`,
    );
  }
}

function makeKey(io: Io, path: string): void {
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    // Never over a file that somebody made meanwhile, and for this user alone.
    writeFileSync(path, `${JSON.stringify(privateKey.export({ format: 'jwk' }))}\n`, {
      mode: 0o600,
      flag: 'wx',
    });
  } catch {
    throw new CommandError(
      EXIT.usage,
      `A key could not be written to ${path}: name another file with --dpop.`,
    );
  }
  io.err(
    `Made a private key in ${path}. The API key works only together with it: it stays where calls are made.\n`,
  );
}

function thumbprintOfCertificate(path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, 'utf8');
  } catch {
    throw new CommandError(EXIT.usage, `${path} cannot be read: name the client certificate, as PEM.`);
  }
  try {
    return hash('sha256', new X509Certificate(pem).raw, 'base64url');
  } catch {
    throw new CommandError(EXIT.usage, `${path} holds no certificate in PEM form.`);
  }
}
