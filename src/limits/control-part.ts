// What limits bring to the control plane.

import type { ControlPart } from '../access/control-plane.ts';
import { projectRateLimitsApi } from './api.ts';
import { type LiveApiDeps, liveLimitsApi } from './live-api.ts';
import { statementsApi } from './statements-api.ts';
import { usageTierApi } from './tier-api.ts';

export function limitsPart(deps: LiveApiDeps): ControlPart {
  return {
    routes(auth) {
      const app = projectRateLimitsApi(deps, auth);
      for (const part of [statementsApi, usageTierApi]) app.route('/', part(deps, auth));
      app.route('/', liveLimitsApi(deps, auth));
      return app;
    },
  };
}
