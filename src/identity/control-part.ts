// What identity beyond the key brings to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { type WorkloadDeps, workloadIdentityApi } from './workload/api.ts';

export type IdentityDeps = WorkloadDeps;

export function identityPart(deps: IdentityDeps): ControlPart {
  return { routes: (auth) => workloadIdentityApi(deps, auth) };
}
