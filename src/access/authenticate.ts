// Who is calling the control plane: format and checksum first, then one look-up in memory, as on the road. So a
// caller with a good key is known even while the store is down, and is told of that and not that its key is bad.

import { createMiddleware } from 'hono/factory';
import { routePath } from 'hono/route';
import { RefusalLog } from '../audit/refusals.ts';
import { mustProve } from '../identity/proof/prove.ts';
import { addressRefusal } from '../keys/allowed-address.ts';
import { presentedKey } from '../keys/authorization.ts';
import { incorrectKey, mismatchedOrganization } from '../keys/errors.ts';
import { parseKey } from '../keys/format.ts';
import type { Principal } from '../keys/model.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import {
  type Authentication,
  attribution,
  type ControlContext,
  type ControlEnv,
  type ControlPlaneDeps,
} from './http.ts';
import { effectiveRights } from './intersect.ts';
import { NO_RIGHTS } from './permission-names.ts';
import { type CallerRights, operationOf, refusalBy, refusalOfProjectKey } from './permissions.ts';

export function authentication(deps: ControlPlaneDeps): Authentication {
  const refusals = new RefusalLog(deps.store, deps.clock);

  const anyKey = createMiddleware<ControlEnv>(async (c, next) => {
    c.set('principal', await principalOf(c, deps));
    await next();
  });

  const admin = createMiddleware<ControlEnv>(async (c, next) => {
    const principal = await principalOf(c, deps);
    c.set('principal', principal);
    const operation = operationOf(c.req.method, routePath(c));
    const rights = rightsOf(principal, deps.registry);
    c.set('rights', rights);
    const refusal = refusalBy(operation, rights, c.req.param('project_id'));
    if (refusal !== null) {
      // The refusal stands whether or not it could be written down.
      await refusals
        .record(attribution(c, deps.clock), principal, operation)
        .catch((error: unknown) => deps.onError?.(error, c.get('requestId')));
      throw refusal;
    }
    await next();
  });

  const projectKey = createMiddleware<ControlEnv>(async (c, next) => {
    const principal = await principalOf(c, deps);
    c.set('principal', principal);
    const refusal = refusalOfProjectKey(operationOf(c.req.method, routePath(c)), principal);
    if (refusal !== null) throw refusal;
    await next();
  });

  return { admin, anyKey, projectKey };
}

/**
 * Somebody signed in, or with an admin key, acts with its roles, as far as the key's scopes go. A project's key
 * administers nothing.
 */
function rightsOf(principal: Principal, registry: KeyRegistry): CallerRights {
  if (principal.project !== null) return NOTHING;
  return {
    organization: principal.rights,
    within(projectId) {
      const ofOwner = registry.access.within('user', principal.ownerId, projectId);
      return ofOwner && effectiveRights(principal.scopes, ofOwner);
    },
  };
}

const NOTHING: CallerRights = { organization: NO_RIGHTS, within: () => NO_RIGHTS };

async function principalOf(
  c: ControlContext,
  { registry, clock, proofs }: ControlPlaneDeps,
): Promise<Principal> {
  const presented = presentedKey(c.req.header('authorization'));
  const parsed = parseKey(presented);
  if (!parsed.ok) throw incorrectKey(presented, parsed.reason);
  const principal = registry.find(presented);
  if (principal === undefined) throw incorrectKey(presented);
  const elsewhere = addressRefusal(principal, c.env.remoteAddress);
  if (elsewhere !== null) throw elsewhere;
  // What administers is not asked for a project's client certificate: one made active by mistake is switched off again.
  const ofProject = principal.project !== null;
  if (ofProject ? mustProve(principal) : principal.confirmation !== null) {
    const { incoming } = c.env;
    const refusal =
      proofs === undefined || incoming === undefined
        ? incorrectKey(presented)
        : await proofs.check(principal, presented, incoming, ofProject);
    if (refusal !== null) throw refusal;
  }
  const organization = c.req.header('openai-organization');
  if (organization && organization !== principal.organizationId) throw mismatchedOrganization();
  registry.touch(principal.keyId, clock.now());
  return principal;
}
