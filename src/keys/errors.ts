// What a caller is told when its key is missing or will not do: 401 in the platform's published words, so that
// tools which match their beginnings keep working, with this server's own advice where the platform links to itself.
// Nothing here repeats more of a key than its prefix and its last four characters.

import { ApiError } from '../platform/errors.ts';
import { type KeyFlaw, maskPresented } from './format.ts';

const HOW_TO_GET_ONE =
  'You can find your API key with `keygate keys list`, or ask whoever runs this keygate server for one.';

const ADVICE = {
  unknown: HOW_TO_GET_ONE,
  legacy:
    'This looks like a legacy OpenAI key, which this server does not issue. Use a key that this keygate server ' +
    'issued: it begins with sk-proj-, sk-svcacct-, sk-admin- or sk-test-.',
  foreign:
    'This server did not issue it. Use a key that this keygate server issued (sk-proj-, sk-svcacct-, sk-admin- or ' +
    "sk-test-); a provider's own key belongs in the server's configuration.",
  malformed: 'It is incomplete or has something added: copy the whole key again.',
  checksum: 'A character in it is wrong: copy the key again instead of typing it.',
} as const satisfies Record<KeyFlaw | 'unknown', string>;

/** No `Authorization` header, or one that holds no key. */
export function missingKey(): ApiError {
  return new ApiError(
    401,
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth " +
      "(i.e. Authorization: Bearer YOUR_KEY), or as the password field (with blank username) if you're accessing " +
      'the API from your browser and are prompted for a username and password. You can obtain an API key with ' +
      '`keygate keys create`, or from whoever runs this keygate server.',
    { headers: ['www-authenticate', 'Bearer realm="keygate"'] },
  );
}

/**
 * A key that will not do. `unknown` covers every well-formed key alike: never issued, revoked, expired, of an
 * archived project or of a deleted owner; the reply does not tell them apart.
 */
export function incorrectKey(presented: string, why: KeyFlaw | 'unknown' = 'unknown'): ApiError {
  return new ApiError(401, `Incorrect API key provided: ${maskPresented(presented)}. ${ADVICE[why]}`, {
    code: 'invalid_api_key',
  });
}

/** The `OpenAI-Organization` header names another organization than the key's. */
export function mismatchedOrganization(): ApiError {
  return new ApiError(401, 'OpenAI-Organization header should match organization for API key', {
    code: 'mismatched_organization',
  });
}

/** The `OpenAI-Project` header names another project than the key's. */
export function mismatchedProject(): ApiError {
  return new ApiError(401, 'OpenAI-Project header should match project for API key', {
    code: 'mismatched_project',
  });
}

/** A valid key without the right: the platform's words, with the scope that is missing. */
export function missingScope(scope: string): ApiError {
  return new ApiError(
    403,
    `You have insufficient permissions for this operation. Missing scopes: ${scope}. Check that you have the ` +
      "correct role in your organization (Reader, Writer, Owner) and project (Member, Owner), and if you're using a " +
      'restricted API key, that it has the necessary scopes.',
  );
}

/** The key is right, but not from this address; 401 as the platform's IP allowlist answers. */
export function addressNotAllowed(whose: 'key' | 'project' | 'organization' = 'key'): ApiError {
  const what = {
    key: 'this API key',
    project: 'keys of this project',
    organization: 'keys of this organization',
  };
  return new ApiError(401, `IP not authorized: ${what[whose]} may not be used from your address.`, {
    code: 'ip_not_authorized',
  });
}
