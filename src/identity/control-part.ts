// What identity beyond the key brings to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { certificatesApi } from './certificates/api.ts';
import { boundKeysApi } from './proof/bound-keys-api.ts';
import { type WorkloadDeps, workloadIdentityApi } from './workload/api.ts';
import { ownProvidersApi } from './workload/keygate-api.ts';

export type IdentityDeps = WorkloadDeps;

export function identityPart(deps: IdentityDeps): ControlPart {
  return {
    routes(auth) {
      const app = workloadIdentityApi(deps, auth);
      app.route('/', certificatesApi(deps, auth));
      app.route('/', boundKeysApi(deps, auth));
      app.route('/', ownProvidersApi(deps, auth));
      return app;
    },
  };
}
