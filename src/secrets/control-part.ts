// What secrets bring to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { cloudIdentityApi } from '../clouds/api.ts';
import { rootKeyApi, type SecretsDeps, secretsApi } from './api.ts';
import { type ExternalKeysDeps, externalKeysApi } from './external/api.ts';

export function secretsPart(deps: SecretsDeps & ExternalKeysDeps): ControlPart {
  return {
    routes(auth) {
      const app = secretsApi(deps, auth);
      app.route('/', rootKeyApi(deps, auth));
      app.route('/', externalKeysApi(deps, auth));
      app.route('/', cloudIdentityApi(deps.secrets.clouds.identity));
      return app;
    },
  };
}
