// What money brings to the control plane.

import type { ControlPart } from '../../access/control-plane.ts';
import type { ControlPlaneDeps } from '../../access/http.ts';
import type { Billing } from '../credits/store.ts';
import { spendAlertsApi } from './alerts-api.ts';
import { budgetsApi } from './budgets-api.ts';
import { creditsApi } from './credits-api.ts';
import { spendLimitsApi } from './limit-api.ts';

/** @param unsaid how an organization pays that did not say so, by the configuration */
export function spendPart(deps: ControlPlaneDeps, unsaid: Billing): ControlPart {
  return {
    routes(auth) {
      const app = spendLimitsApi(deps, auth);
      app.route('/', spendAlertsApi(deps, auth));
      app.route('/', budgetsApi(deps, auth));
      app.route('/', creditsApi(deps, auth, unsaid));
      return app;
    },
  };
}
