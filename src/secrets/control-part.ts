// What secrets bring to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { rootKeyApi, type SecretsDeps, secretsApi } from './api.ts';

export function secretsPart(deps: SecretsDeps): ControlPart {
  return {
    routes(auth) {
      const app = secretsApi(deps, auth);
      app.route('/', rootKeyApi(deps, auth));
      return app;
    },
  };
}
