// What limits bring to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { projectRateLimitsApi } from './api.ts';
import { liveLimitsApi } from './live-api.ts';
import { SIMULATE_EVENTS, type SimulateApiDeps, simulateApi } from './simulate-api.ts';
import { statementsApi } from './statements-api.ts';
import { usageTierApi } from './tier-api.ts';

export function limitsPart(deps: SimulateApiDeps): ControlPart {
  return {
    routes(auth) {
      const app = projectRateLimitsApi(deps, auth);
      for (const part of [statementsApi, usageTierApi]) app.route('/', part(deps, auth));
      app.route('/', liveLimitsApi(deps, auth));
      app.route('/', simulateApi(deps, auth));
      return app;
    },
    streamed: [SIMULATE_EVENTS],
  };
}
