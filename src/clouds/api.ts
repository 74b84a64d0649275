// What clouds need to trust keygate's own tokens: the issuer's metadata and public keys, where they look for them
// (OpenID Connect Discovery 1.0 section 4). They hold no secret and want no key.

import type { ControlApp } from '../access/http.ts';
import { newApp } from '../access/http.ts';
import { ApiError } from '../platform/errors.ts';
import type { CloudIdentity } from './identity.ts';

const BASE = '/v1/keygate/cloud_identity';

export function cloudIdentityApi(identity: CloudIdentity): ControlApp {
  const app = newApp();
  app.get(`${BASE}/.well-known/openid-configuration`, (c) => {
    const { issuer } = identity;
    if (issuer === null) throw none();
    return c.json({
      issuer,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['id_token'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
    });
  });
  app.get(`${BASE}/jwks`, async (c) => {
    if (identity.issuer === null) throw none();
    return c.json(await identity.keySet());
  });
  return app;
}

function none(): ApiError {
  return new ApiError(404, 'This server makes no tokens for clouds: clouds.identity.issuer is not set.');
}
