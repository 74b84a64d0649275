// The HTTP surface of signing in: what a native application needs to begin, the two ways to finish, and signing out.
// Whoever begins has no key yet; failures are bounded by address, and say no more than that the sign-in failed.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  attribution,
  type ControlApp,
  type ControlContext,
  type ControlPlaneDeps,
  IdSchema,
  jsonBody,
  newApp,
  replies,
  seconds,
  TimestampSchema,
} from '../../access/http.ts';
import { ApiError, unavailable } from '../../platform/errors.ts';
import { Failures } from '../failures.ts';
import type { SignInIssuer } from './issuer.ts';
import { type Person, SignInFailed } from './model.ts';
import { endSession } from './sessions.ts';
import type { SignedIn, SignIn } from './sign-in.ts';

export interface SignInParts {
  readonly issuer: SignInIssuer;
  readonly signIn: SignIn;
}

const SIGN_IN = '/v1/keygate/sign_in';
const SESSION = '/v1/keygate/session';
const Secret = z.string().min(1).max(4096);

const SignInSchema = z
  .object({
    object: z.literal('keygate.sign_in'),
    issuer: z.string(),
    client_id: z.string(),
    authorization_endpoint: z.string().nullable(),
    device: z
      .boolean()
      .openapi({ description: 'Whether the issuer lets a device without a browser sign in.' }),
    scope: z.string(),
  })
  .openapi('SignIn');

const SessionSchema = z
  .object({
    object: z.literal('keygate.session'),
    id: IdSchema,
    value: z.string().openapi({ description: 'The session key, shown this once.' }),
    expires_at: TimestampSchema,
    user: z.object({ id: IdSchema, name: z.string(), email: z.string() }),
  })
  .openapi('Session');

const LOOPBACK = /^http:\/\/(?:127\.0\.0\.1|\[::1\]):\d{1,5}\/[\w/-]{0,64}$/;

const FinishBody = z.discriminatedUnion('grant_type', [
  z.strictObject({
    grant_type: z.literal('authorization_code'),
    code: Secret,
    code_verifier: z.string().regex(/^[\w.~-]{43,128}$/, 'must be a PKCE verifier (RFC 7636)'),
    nonce: z.string().min(16).max(256),
    redirect_uri: z.string().regex(LOOPBACK, 'must be a loopback address (RFC 8252 section 7.3)'),
    iss: z.string().max(2048).optional(),
  }),
  z.strictObject({
    grant_type: z.literal('urn:ietf:params:oauth:grant-type:device_code'),
    device_code: Secret,
  }),
]);

const DeviceSchema = z
  .object({
    object: z.literal('keygate.sign_in.device'),
    device_code: z.string(),
    user_code: z.string(),
    verification_uri: z.string(),
    verification_uri_complete: z.string().nullable(),
    expires_in: z.int(),
    interval: z.int(),
  })
  .openapi('SignInDevice');

/** @param parts null: nobody signs in here */
export function signInApi(
  { store, clock }: ControlPlaneDeps,
  { anyKey }: Authentication,
  parts: SignInParts | null,
): ControlApp {
  const app = newApp();
  const tags = ['keygate'];
  const failures = new Failures(clock);

  const configured = (): SignInParts => {
    if (parts === null) {
      throw new ApiError(404, 'Nobody signs in here: this server has no sign_in.issuer. Use an admin key.');
    }
    return parts;
  };

  /** Runs a step with the issuer; what goes wrong is written down and told as one refusal. */
  async function step<T>(c: ControlContext, work: (parts: SignInParts) => Promise<T>): Promise<T> {
    const { issuer, signIn } = configured();
    const address = c.env.remoteAddress;
    const wait = failures.wait(address);
    if (wait > 0) {
      throw new ApiError(403, 'Too many failed sign-ins from your address: try again later.', {
        headers: ['retry-after', String(wait)],
      });
    }
    try {
      return await work({ issuer, signIn });
    } catch (error) {
      if (!(error instanceof SignInFailed)) throw error;
      if (error.pending) throw new ApiError(400, 'The sign-in is not finished yet.', { code: error.code });
      if (error.code === 'issuer_not_reachable') throw unavailable('The issuer does not answer: try again.');
      failures.note(address);
      await signIn.note(error, address);
      throw new ApiError(401, 'The sign-in failed. The reason is in the audit log.', {
        code: 'sign_in_failed',
      });
    }
  }

  app.openapi(
    createRoute({
      method: 'get',
      path: SIGN_IN,
      tags,
      responses: replies(SignInSchema, 'How people sign in.'),
    }),
    async (c) => {
      const told = await step(c, ({ issuer }) => issuer.describe());
      return c.json(
        {
          object: 'keygate.sign_in' as const,
          issuer: told.issuer,
          client_id: told.clientId,
          authorization_endpoint: told.authorizationEndpoint,
          device: told.device,
          scope: told.scope,
        },
        200,
      );
    },
  );

  app.openapi(
    createRoute({
      method: 'post',
      path: SIGN_IN,
      tags,
      request: { body: jsonBody(FinishBody) },
      responses: replies(SessionSchema, 'The session.'),
    }),
    async (c) => {
      const body = c.req.valid('json');
      const { session, user } = await step(c, async ({ issuer, signIn }): Promise<SignedIn> => {
        const person = await personOf(issuer, body);
        return await signIn.admit(person, c.env.remoteAddress);
      });
      return c.json(
        {
          object: 'keygate.session' as const,
          id: session.id,
          value: session.value,
          expires_at: seconds(session.expiresAt),
          user: { id: user.id, name: user.name, email: user.email },
        },
        200,
      );
    },
  );

  app.openapi(
    createRoute({
      method: 'post',
      path: `${SIGN_IN}/device`,
      tags,
      responses: replies(DeviceSchema, 'What to enter, and where.'),
    }),
    async (c) => {
      const started = await step(c, ({ issuer }) => issuer.startDevice());
      return c.json(
        {
          object: 'keygate.sign_in.device' as const,
          device_code: started.deviceCode,
          user_code: started.userCode,
          verification_uri: started.verificationUri,
          verification_uri_complete: started.verificationUriComplete,
          expires_in: started.expiresIn,
          interval: started.interval,
        },
        200,
      );
    },
  );

  app.openapi(
    createRoute({
      method: 'delete',
      path: SESSION,
      tags,
      middleware: [anyKey] as const,
      responses: replies(
        z.object({ object: z.literal('keygate.session.deleted'), id: IdSchema, deleted: z.literal(true) }),
        'The session of the key that asked is over.',
      ),
    }),
    async (c) => {
      const { keyId: id, type } = c.get('principal');
      if (type !== 'session') {
        throw new ApiError(400, 'Only a session is signed out: a key is revoked where keys are.');
      }
      const by = attribution(c, clock);
      await store.write((tx) => endSession(store, tx, by, id));
      return c.json({ object: 'keygate.session.deleted' as const, id, deleted: true as const }, 200);
    },
  );

  return app;
}

async function personOf(issuer: SignInIssuer, body: z.infer<typeof FinishBody>): Promise<Person> {
  if (body.grant_type !== 'authorization_code') return await issuer.byDevice(body.device_code);
  const callback = new URL(body.redirect_uri);
  callback.searchParams.set('code', body.code);
  if (body.iss !== undefined) callback.searchParams.set('iss', body.iss);
  return await issuer.byCode(callback, body.code_verifier, body.nonce);
}
