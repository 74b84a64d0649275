// The control plane: one HTTP application of the routes of keys, projects, users and service accounts, the published
// Administration API and keygate's own beside it, and of the parts that other capabilities bring. Here is what holds for
// all of them: the headers of every reply, the bound of a body, what a fault looks like from outside, and the OpenAPI
// document.

import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { HTTPException } from 'hono/http-exception';
import { auditApi } from '../audit/api.ts';
import { adminKeysApi } from '../keys/admin-api.ts';
import { keygateKeysApi, projectKeysApi } from '../keys/api.ts';
import { ApiError } from '../platform/errors.ts';
import { newRequestId } from '../platform/ids.ts';
import { reportsApi } from '../spend/reports/api.ts';
import { projectsApi } from './api.ts';
import { assignmentsApi } from './assignments-api.ts';
import { authentication } from './authenticate.ts';
import { serveDescription } from './description.ts';
import { groupsApi } from './groups-api.ts';
import {
  type Authentication,
  type ControlApp,
  type ControlContext,
  type ControlEnv,
  type ControlPlaneDeps,
  newApp,
} from './http.ts';
import { invitesApi } from './invites-api.ts';
import { projectAccessApi } from './project-access-api.ts';
import { rolesApi } from './roles-api.ts';
import { serviceAccountsApi } from './service-accounts-api.ts';
import { usersApi } from './users-api.ts';
import { whoamiApi } from './whoami.ts';

/** A request body, in bytes. Beyond: 413. */
const BODY_MAX = 1024 * 1024;
/** The version of the published API that replies name. */
const API_VERSION = '2020-10-01';

export interface ControlPlane {
  /** Answers one request; never rejects. */
  fetch(request: Request, env: ControlEnv['Bindings']): Promise<Response>;
}

export type { ControlPlaneDeps };

/** Routes that another capability brings. */
export interface ControlPart {
  routes(auth: Authentication): ControlApp;
  /** Paths whose bodies are read as they come, and bounded by their own routes. */
  readonly streamed?: readonly string[];
}

export function createControlPlane(
  deps: ControlPlaneDeps,
  others: readonly ControlPart[] = [],
): ControlPlane {
  const app = newApp();
  const auth = authentication(deps);
  app.use(headers(deps));
  const bounded = bodyLimit({ maxSize: BODY_MAX, onError: () => fail(new ApiError(413, TOO_LARGE)) });
  const streamed = new Set(others.flatMap((part) => part.streamed ?? []));
  app.use((c, next) => (streamed.has(c.req.path) ? next() : bounded(c, next)));
  app.onError((error, c) => reply(c, refusalOf(error, c, deps)));
  app.notFound((c) =>
    reply(c, new ApiError(404, `Invalid URL (${c.req.method} ${c.req.path.slice(0, 256)})`)),
  );
  for (const part of [
    projectsApi(deps, auth),
    usersApi(deps, auth),
    groupsApi(deps, auth),
    rolesApi(deps, auth),
    assignmentsApi(deps, auth),
    projectAccessApi(deps, auth),
    invitesApi(deps, auth),
    projectKeysApi(deps, auth),
    serviceAccountsApi(deps, auth),
    adminKeysApi(deps, auth),
    keygateKeysApi(deps, auth),
    reportsApi(deps, auth),
    auditApi(deps, auth),
    whoamiApi(auth),
    ...others.map((part) => part.routes(auth)),
  ]) {
    app.route('/', part);
  }
  serveDescription(app);
  return { fetch: async (request, env) => await app.fetch(request, env) };
}

const TOO_LARGE = 'The request body is larger than 1 MB, which is more than any request of this API needs.';

function fail(error: ApiError): never {
  throw error;
}

/** The platform's headers on every reply, refusals included; the organization once the key has said which. */
function headers({ clock }: ControlPlaneDeps): MiddlewareHandler<ControlEnv> {
  return async (c, next) => {
    const started = clock.monotonic();
    const requestId = newRequestId(clock.now());
    c.set('requestId', requestId);
    await next();
    const organization = c.get('principal')?.organizationId;
    c.header('x-request-id', requestId);
    c.header('openai-version', API_VERSION);
    c.header('openai-processing-ms', String(Math.round(clock.monotonic() - started)));
    if (organization !== undefined) c.header('openai-organization', organization);
    c.header('cache-control', 'no-store');
  };
}

/** What the caller is told of an error: refusals as they are, faults of ours without their insides. */
function refusalOf(error: Error, c: ControlContext, deps: ControlPlaneDeps): ApiError {
  if (error instanceof ApiError) {
    if (error.status >= 500) deps.onError?.(error, c.get('requestId'));
    return error;
  }
  if (error instanceof HTTPException && error.status === 415) {
    return new ApiError(415, 'The request body must be JSON: send it with Content-Type: application/json.');
  }
  if (error instanceof HTTPException && error.status < 500) {
    return new ApiError(
      400,
      'We could not parse the JSON body of your request. The API expects a JSON payload, but what was sent was not ' +
        'valid JSON.',
    );
  }
  deps.onError?.(error, c.get('requestId'));
  return new ApiError(500, 'The server had an error while processing your request. Sorry about that!');
}

function reply(c: ControlContext, error: ApiError): Response {
  for (let at = 0; at + 1 < error.headers.length; at += 2) {
    c.header(error.headers[at] ?? '', error.headers[at + 1]);
  }
  c.status(statusOf(error.status));
  return c.json(error.body());
}

function statusOf(status: number): Parameters<ControlContext['status']>[0] {
  switch (status) {
    case 400:
    case 401:
    case 403:
    case 404:
    case 413:
    case 415:
    case 503:
      return status;
    default:
      return 500;
  }
}
