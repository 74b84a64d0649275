// `keygate login`, `logout` and `whoami`: signing in as a person, by the issuer that the server names.
//
// The browser way is RFC 8252: a code comes back to a loopback address that lives for this one sign-in, and is of no use
// without the PKCE verifier (RFC 7636) that never leaves this process. Without a browser, RFC 8628: a code to enter on
// another device. What is kept is the session's key, for this user alone; it ends by itself.

import { spawn } from 'node:child_process';
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { createServer, type Server as HttpServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Command } from 'commander';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import type { Io } from './io.ts';
import { printFields, printJson, when } from './print.ts';
import { adminServer, DEFAULT_URL, Server, serverUrl } from './server.ts';
import { keepSession, sessionFor } from './session-file.ts';

const SIGN_IN = '/v1/keygate/sign_in';
const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';
const BROWSER_MS = 5 * 60_000;
const SLOW_DOWN_SECONDS = 5;

const How = z.looseObject({
  client_id: z.string(),
  authorization_endpoint: z.url().nullable(),
  device: z.boolean(),
  scope: z.string(),
});
const Session = z.looseObject({
  value: z.string(),
  expires_at: z.number(),
  user: z.looseObject({ email: z.string(), name: z.string() }),
});
type Session = z.infer<typeof Session>;
const Device = z.looseObject({
  device_code: z.string(),
  user_code: z.string(),
  verification_uri: z.string(),
  verification_uri_complete: z.string().nullable(),
  expires_in: z.number(),
  interval: z.number(),
});
const Whoami = z.looseObject({
  type: z.string(),
  organization_id: z.string(),
  project_id: z.string().nullable(),
  api_key_id: z.string(),
  owner: z.object({ type: z.string(), id: z.string() }),
  expires_at: z.number().nullable(),
});
const Over = z.looseObject({ deleted: z.literal(true) });

export function addLogin(program: Command, io: Io): void {
  program
    .command('login')
    .description('sign in as a person, and act with your roles until the session ends')
    .option('--no-browser', 'show a code to enter on another device')
    .addHelpText(
      'after',
      `
Examples:
  keygate login
  KEYGATE_URL=https://keygate.example.com keygate login --no-browser`,
    )
    .action(async ({ browser }: { browser: boolean }) => {
      const url = urlOf(io);
      // Whoever signs in has no key yet.
      const server = new Server(url, 'none');
      const how = await server.get(SIGN_IN, How);
      const session =
        browser && how.authorization_endpoint !== null
          ? await byBrowser(io, server, how, how.authorization_endpoint)
          : await byDevice(io, server, how);
      keepSession(io, url, {
        value: session.value,
        expires_at: session.expires_at,
        email: session.user.email,
      });
      io.out(`Signed in as ${session.user.email}, until ${when(session.expires_at, '')}.\n`);
    });

  program
    .command('logout')
    .description('end the session that `keygate login` began')
    .action(async () => {
      const url = urlOf(io);
      const session = sessionFor(io, url);
      if (session === undefined) {
        io.out(`Nobody is signed in at ${url}.\n`);
        return;
      }
      await new Server(url, session.value).delete('/v1/keygate/session', Over);
      keepSession(io, url, null);
      io.out(`Signed out ${session.email}.\n`);
    });

  program
    .command('whoami')
    .description('what the key or session in use stands for')
    .option('--json', 'print the object as JSON')
    .action(async ({ json }: { json?: true }) => {
      const server = adminServer(io);
      const who = await server.get('/v1/keygate/whoami', Whoami);
      if (json) return printJson(io, who);
      const session = who.type === 'session' ? sessionFor(io, server.url) : undefined;
      printFields(io, [
        ['Server', server.url],
        ['As', session?.email ?? `${who.owner.type.replace('_', ' ')} ${who.owner.id}`],
        ['By', `${who.type.replace('_', ' ')} ${who.api_key_id}`],
        ['Organization', who.organization_id],
        ['Until', when(who.expires_at, 'it is revoked')],
      ]);
    });
}

function urlOf(io: Io): string {
  return serverUrl(io.env['KEYGATE_URL'] ?? DEFAULT_URL, 'KEYGATE_URL');
}

async function byBrowser(
  io: Io,
  server: Server,
  how: z.infer<typeof How>,
  endpoint: string,
): Promise<Session> {
  const verifier = randomBytes(32).toString('base64url');
  const state = randomBytes(16).toString('base64url');
  const nonce = randomBytes(16).toString('base64url');
  const loopback = await listen();
  try {
    const address = new URL(endpoint);
    for (const [name, value] of Object.entries({
      response_type: 'code',
      client_id: how.client_id,
      redirect_uri: loopback.uri,
      scope: how.scope,
      state,
      nonce,
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    })) {
      address.searchParams.set(name, value);
    }
    io.err(`Sign in with your browser:\n\n  ${address.href}\n\n`);
    if (io.outIsTerminal) openBrowser(address.href);
    const back = await loopback.callback;
    if (!equal(back.get('state') ?? '', state)) {
      throw new CommandError(EXIT.refused, 'What came back belongs to another sign-in: try again.');
    }
    const code = back.get('code');
    if (code === null) throw new CommandError(EXIT.refused, 'The issuer did not let you in: try again.');
    const iss = back.get('iss');
    const body = {
      grant_type: 'authorization_code',
      code,
      code_verifier: verifier,
      nonce,
      redirect_uri: loopback.uri,
      ...(iss !== null && { iss }),
    };
    return await server.post(SIGN_IN, body, Session);
  } finally {
    loopback.close();
  }
}

/** A loopback address for one answer of the issuer. */
async function listen() {
  let arrived: (parameters: URLSearchParams) => void = () => {};
  let late: (error: Error) => void = () => {};
  const callback = new Promise<URLSearchParams>((resolve, reject) => {
    arrived = resolve;
    late = reject;
  });
  callback.catch(() => {});
  const http: HttpServer = createServer((request, response) => {
    const target = new URL(request.url ?? '/', 'http://127.0.0.1');
    const known = target.pathname === '/callback';
    response.writeHead(known ? 200 : 404, {
      'content-type': 'text/plain; charset=utf-8',
      'referrer-policy': 'no-referrer',
      connection: 'close',
    });
    response.end(known ? 'You may close this page and go back to the terminal.\n' : '');
    if (known) arrived(target.searchParams);
  });
  await new Promise<void>((resolve, reject) => {
    http.once('error', reject);
    http.listen(0, '127.0.0.1', resolve);
  });
  const timer = setTimeout(() => {
    late(new CommandError(EXIT.refused, 'Nobody signed in within five minutes: try again.'));
  }, BROWSER_MS);
  const { port } = http.address() as AddressInfo;
  return {
    uri: `http://127.0.0.1:${port}/callback`,
    callback,
    close: () => {
      clearTimeout(timer);
      http.close();
      http.closeAllConnections();
    },
  };
}

function openBrowser(address: string): void {
  const command = process.platform === 'darwin' ? 'open' : 'xdg-open';
  // Without one the address stands in the terminal.
  const child = spawn(command, [address], { stdio: 'ignore', detached: true });
  child.on('error', () => {});
  child.unref();
}

async function byDevice(io: Io, server: Server, how: z.infer<typeof How>): Promise<Session> {
  if (!how.device) {
    throw new CommandError(
      EXIT.refused,
      'The issuer lets no device without a browser sign in: run `keygate login` where there is one.',
    );
  }
  const device = await server.post(`${SIGN_IN}/device`, {}, Device);
  const { verification_uri_complete: complete, verification_uri: plain, user_code: userCode } = device;
  io.err(`Open ${plain} and enter ${userCode}${complete === null ? '' : `, or open ${complete}`}.\n`);
  let seconds = device.interval;
  const ends = io.now() + device.expires_in * 1000;
  while (io.now() < ends) {
    await wait(seconds * 1000);
    try {
      return await server.post(
        SIGN_IN,
        { grant_type: DEVICE_CODE, device_code: device.device_code },
        Session,
      );
    } catch (error) {
      const reason = error instanceof CommandError ? error.reason : null;
      if (reason !== 'authorization_pending' && reason !== 'slow_down') {
        throw error;
      }
      if (reason === 'slow_down') seconds += SLOW_DOWN_SECONDS;
    }
  }
  throw new CommandError(EXIT.refused, 'Nobody entered the code in time: try again.');
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
