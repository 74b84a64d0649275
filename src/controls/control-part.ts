// What settings bring to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import type { ControlPlaneDeps } from '../access/http.ts';
import { allowlistsApi } from './allowlists-api.ts';
import { hostedToolsApi, modelPermissionsApi, serviceTiersApi } from './permissions-api.ts';
import { keygateProjectsApi } from './projects-api.ts';
import type { Pseudonyms } from './pseudonyms.ts';
import { pseudonymsApi } from './pseudonyms-api.ts';
import { dataRetentionApi } from './retention-api.ts';

export interface ControlsDeps extends ControlPlaneDeps {
  readonly pseudonyms: Pseudonyms;
}

export function controlsPart(deps: ControlsDeps): ControlPart {
  return {
    routes(auth) {
      const app = modelPermissionsApi(deps, auth);
      app.route('/', hostedToolsApi(deps, auth));
      app.route('/', serviceTiersApi(deps, auth));
      app.route('/', dataRetentionApi(deps, auth));
      app.route('/', pseudonymsApi(deps, auth));
      app.route('/', keygateProjectsApi(deps, auth));
      app.route('/', allowlistsApi(deps, auth));
      return app;
    },
  };
}
