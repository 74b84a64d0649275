// What identity beyond the key brings to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { certificatesApi } from './certificates/api.ts';
import { boundKeysApi } from './proof/bound-keys-api.ts';
import { type SignInParts, signInApi } from './sign-in/api.ts';
import { type WorkloadDeps, workloadIdentityApi } from './workload/api.ts';
import { ownProvidersApi } from './workload/keygate-api.ts';

export interface IdentityDeps extends WorkloadDeps {
  /** How people sign in; left out: they do not. */
  readonly signIn?: SignInParts | null;
}

export function identityPart(deps: IdentityDeps): ControlPart {
  return {
    routes(auth) {
      const app = workloadIdentityApi(deps, auth);
      app.route('/', certificatesApi(deps, auth));
      app.route('/', boundKeysApi(deps, auth));
      app.route('/', signInApi(deps, auth, deps.signIn ?? null));
      app.route('/', ownProvidersApi(deps, auth));
      return app;
    },
  };
}
