// The OpenID Connect issuer by which people sign in, spoken to by openid-client through the client for addresses that
// people configure. The command line is the native application (RFC 8252): it opens the browser, takes the code at a
// loopback address and holds the PKCE verifier; this server exchanges the code and checks the ID token, its signature
// included, so that a client secret, where the issuer insists on one, stays here.

import * as oidc from 'openid-client';
import type { SignInConfig } from '../../config/model.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Outgoing } from '../../platform/outgoing.ts';
import { type Person, SignInFailed } from './model.ts';

const FRESH_MS = 3_600_000;
const SCOPE = 'openid email profile';
const DEVICE_CODE = 'urn:ietf:params:oauth:grant-type:device_code';

export interface Device {
  readonly deviceCode: string;
  readonly userCode: string;
  readonly verificationUri: string;
  readonly verificationUriComplete: string | null;
  readonly expiresIn: number;
  readonly interval: number;
}

export class SignInIssuer {
  readonly #config: SignInConfig;
  readonly #outgoing: Pick<Outgoing, 'fetch'>;
  readonly #clock: Clock;
  #known: { readonly configuration: oidc.Configuration; readonly at: number } | null = null;

  constructor(config: SignInConfig, outgoing: Pick<Outgoing, 'fetch'>, clock: Clock) {
    this.#config = config;
    this.#outgoing = outgoing;
    this.#clock = clock;
  }

  /** What a native application needs to begin. */
  async describe() {
    const metadata = (await this.#configuration()).serverMetadata();
    return {
      issuer: this.#config.issuer,
      clientId: this.#config.clientId,
      authorizationEndpoint: metadata.authorization_endpoint ?? null,
      device: metadata.device_authorization_endpoint !== undefined,
      scope: SCOPE,
    };
  }

  /** @param callback the loopback address with the parameters that the issuer sent back to it */
  async byCode(callback: URL, verifier: string, nonce: string): Promise<Person> {
    const configuration = await this.#configuration();
    return await this.#person(configuration, () =>
      oidc.authorizationCodeGrant(configuration, callback, {
        pkceCodeVerifier: verifier,
        expectedNonce: nonce,
        // The application compared the state, which is its own.
        expectedState: oidc.skipStateCheck,
        idTokenExpected: true,
      }),
    );
  }

  async startDevice(): Promise<Device> {
    const configuration = await this.#configuration();
    const started = await failing(() => oidc.initiateDeviceAuthorization(configuration, { scope: SCOPE }));
    return {
      deviceCode: started.device_code,
      userCode: started.user_code,
      verificationUri: started.verification_uri,
      verificationUriComplete: started.verification_uri_complete ?? null,
      expiresIn: started.expires_in,
      interval: started.interval ?? 5,
    };
  }

  async byDevice(deviceCode: string): Promise<Person> {
    const configuration = await this.#configuration();
    return await this.#person(configuration, () =>
      oidc.genericGrantRequest(configuration, DEVICE_CODE, { device_code: deviceCode }),
    );
  }

  async #person(
    configuration: oidc.Configuration,
    grant: () => Promise<oidc.TokenEndpointResponse & oidc.TokenEndpointResponseHelpers>,
  ): Promise<Person> {
    return await failing(async () => {
      const tokens = await grant();
      const claims = tokens.claims();
      if (claims === undefined) throw new SignInFailed('id_token_missing');
      const told =
        claims['email'] === undefined && configuration.serverMetadata().userinfo_endpoint !== undefined
          ? { ...claims, ...(await oidc.fetchUserInfo(configuration, tokens.access_token, claims.sub)) }
          : claims;
      const { email, email_verified: verified, name } = told;
      return {
        subject: claims.sub,
        email: typeof email === 'string' ? email : null,
        emailVerified: verified === true,
        name: typeof name === 'string' ? name : null,
      };
    });
  }

  async #configuration(): Promise<oidc.Configuration> {
    const now = this.#clock.monotonic();
    if (this.#known !== null && now - this.#known.at < FRESH_MS) return this.#known.configuration;
    const { issuer, clientId, clientSecret } = this.#config;
    const authentication = clientSecret === null ? oidc.None() : oidc.ClientSecretPost(clientSecret.reveal());
    const configuration = await failing(() =>
      oidc.discovery(new URL(issuer), clientId, undefined, authentication, {
        [oidc.customFetch]: (url, options) =>
          this.#outgoing.fetch(url, { ...options, body: options.body ?? null }),
        // Whether plain http may be spoken to is the outgoing client's to say.
        execute: [oidc.allowInsecureRequests, oidc.enableNonRepudiationChecks],
      }),
    );
    this.#known = { configuration, at: now };
    return configuration;
  }
}

/** The library's errors, and those of the way there, as one kind; what an issuer says is a code, never shown as it is. */
async function failing<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SignInFailed) throw error;
    if (error instanceof oidc.ResponseBodyError || error instanceof oidc.AuthorizationResponseError) {
      const pending = error.error === 'authorization_pending' || error.error === 'slow_down';
      throw new SignInFailed(safe(error.error), pending);
    }
    if (error instanceof oidc.ClientError)
      throw new SignInFailed(safe(error.code ?? 'issuer_reply_not_accepted'));
    throw new SignInFailed('issuer_not_reachable');
  }
}

function safe(code: string): string {
  return /^[A-Za-z0-9_.-]{1,64}$/.test(code) ? code : 'issuer_refused';
}
