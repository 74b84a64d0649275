// What money brings to the control plane.

import type { ControlPart } from '../../access/control-plane.ts';
import type { ControlPlaneDeps } from '../../access/http.ts';
import { spendAlertsApi } from './alerts-api.ts';
import { budgetsApi } from './budgets-api.ts';
import { spendLimitsApi } from './limit-api.ts';

export function spendPart(deps: ControlPlaneDeps): ControlPart {
  return {
    routes(auth) {
      const app = spendLimitsApi(deps, auth);
      app.route('/', spendAlertsApi(deps, auth));
      app.route('/', budgetsApi(deps, auth));
      return app;
    },
  };
}
