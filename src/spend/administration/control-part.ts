// What money brings to the control plane.

import type { ControlPart } from '../../access/control-plane.ts';
import type { ControlPlaneDeps } from '../../access/http.ts';
import type { Billing } from '../credits/store.ts';
import { spendAlertsApi } from './alerts-api.ts';
import { budgetsApi } from './budgets-api.ts';
import { creditsApi } from './credits-api.ts';
import { spendLimitsApi } from './limit-api.ts';
import { PRICES_IMPORT, type PricesDeps, pricesApi } from './prices-api.ts';
import { usageEventsApi } from './usage-events-api.ts';

export interface SpendPartDeps extends ControlPlaneDeps, PricesDeps {
  /** How an organization pays that did not say so, by the configuration. */
  readonly unsaid: Billing;
}

export function spendPart(deps: SpendPartDeps): ControlPart {
  return {
    routes(auth) {
      const app = spendLimitsApi(deps, auth);
      app.route('/', spendAlertsApi(deps, auth));
      app.route('/', budgetsApi(deps, auth));
      app.route('/', creditsApi(deps, auth, deps.unsaid));
      app.route('/', pricesApi(deps, auth));
      app.route('/', usageEventsApi(deps, auth));
      return app;
    },
    streamed: [PRICES_IMPORT],
  };
}
