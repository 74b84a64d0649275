// Authorize: may this principal use this operation, this model, this project, from this address? A key of the wrong
// project or organization, or used from the wrong address, is 401, as published; a valid key without the right is 403;
// what another project owns does not exist.

import type { Pseudonyms } from '../controls/pseudonyms.ts';
import { plainAddress } from '../keys/addresses.ts';
import { addressRefusal, isBoundToAddresses } from '../keys/allowed-address.ts';
import { mismatchedOrganization, mismatchedProject, missingScope } from '../keys/errors.ts';
import type { AddressRanges, Principal, ProjectState } from '../keys/model.ts';
import { ApiError } from '../platform/errors.ts';
import type { PromptLog } from '../prompts/log.ts';
import type { OwnedObjects } from '../upstreams/objects.ts';
import type { Route, Routes } from '../upstreams/routes.ts';
import type { Call, ProjectPrincipal } from './call.ts';
import { hold, mayName, modelDenied, toolDenied } from './controls.ts';
import type { Operation } from './operations.ts';
import { alwaysSearches } from './tools.ts';
import { LATER, type Resume, type Verdict } from './verdict.ts';

const REFERENCES_MAX = 200;

export interface Rights {
  readonly pseudonyms: Pseudonyms;
  /** Null: prompts are not logged. */
  readonly prompts: PromptLog | null;
  readonly routes: Routes;
  readonly objects: OwnedObjects;
  /** Addresses whose X-Forwarded-For is believed; null: none. */
  readonly proxies: AddressRanges | null;
}

export function authorize(call: Call, rights: Rights, resume: Resume): Verdict {
  const { principal, operation } = call;
  if (principal === null || operation === null) throw new Error('authorize before authenticate');
  if (!isProjectPrincipal(principal)) return missingScope(operation.scope);
  call.caller = principal;
  const refusal =
    checkHeaders(call, principal) ??
    checkAddress(call, principal, rights.proxies) ??
    checkOperation(principal, operation);
  if (refusal !== null) return refusal;
  const { controls, externalKey } = principal.project;
  if (externalKey !== null && externalKey.refusal !== null) return externalKey.refusal;
  if (controls !== null) {
    const held = hold(call, principal, controls, rights.pseudonyms);
    if (held !== null) return held;
  }
  // What is under a key of the project's own is not written down beside it in the clear.
  if (rights.prompts !== null && externalKey === null) call.transcript = rights.prompts.begin(controls);
  if (operation.objects === 'reads' || operation.objects === 'deletes') {
    return toOwner(call, principal, call.parameters[0] ?? '', rights, resume);
  }
  if (operation.served === 'here') return null;
  const unknown = findRoute(call, principal, operation, rights.routes);
  if (unknown !== null) return unknown;
  return call.asked.references.length === 0 ? null : checkReferences(call, principal, rights, resume);
}

/** An admin key belongs to the organization, and administers: it calls no model. */
function isProjectPrincipal(principal: Principal): principal is ProjectPrincipal {
  return principal.project !== null;
}

function checkHeaders(call: Call, principal: ProjectPrincipal): ApiError | null {
  const { organization, project } = call.head;
  if (organization !== null && organization !== '' && organization !== principal.organizationId) {
    return mismatchedOrganization();
  }
  if (project !== null && project !== '' && project !== principal.project.id) return mismatchedProject();
  return null;
}

function checkAddress(call: Call, principal: Principal, proxies: AddressRanges | null): ApiError | null {
  if (!isBoundToAddresses(principal)) return null;
  // A batch's lines come from nowhere: the address was checked when the batch was made.
  if (call.order !== null) return null;
  const address = callerAddressOf(call.peer.socket.remoteAddress, call.head.forwardedFor, proxies);
  return addressRefusal(principal, address);
}

/**
 * The address of the caller: the connection's, or, behind trusted proxies, the last one that they did not add
 * themselves.
 */
export function callerAddressOf(
  peerAddress: string | undefined,
  forwardedFor: string | null,
  proxies: AddressRanges | null,
): string {
  const peer = plainAddress(peerAddress ?? '');
  if (proxies === null || forwardedFor === null || !proxies.includes(peer)) return peer;
  const hops = forwardedFor.split(',').map((hop) => plainAddress(hop.trim()));
  return hops.findLast((hop) => !proxies.includes(hop)) ?? hops[0] ?? peer;
}

function checkOperation(principal: Principal, operation: Operation): ApiError | null {
  if (operation.served === 'no') {
    return new ApiError(
      404,
      `This server does not serve ${operation.method} /v1${operation.path}: what it works on is kept under the provider's one account, where projects could reach each other's.`,
      { code: 'operation_not_served' },
    );
  }
  return principal.rights.has(operation.scope) ? null : missingScope(operation.scope);
}

function findRoute(
  call: Call,
  principal: ProjectPrincipal,
  operation: Operation,
  routes: Routes,
): ApiError | null {
  const model = call.asked.model ?? (operation.meter === 'moderations' ? 'omni-moderation-latest' : '');
  const route = permittedRoute(principal, model, routes);
  if (route instanceof ApiError) return route;
  call.route = route;
  return null;
}

/** Where a call of this key that names `model` may go: its key, its project and its environment have a say. */
export function permittedRoute(principal: ProjectPrincipal, model: string, routes: Routes): Route | ApiError {
  const { project, models } = principal;
  if (models !== null && !models.has(model)) return modelDenied(project.id, model);
  const rule = project.controls?.models ?? null;
  if (rule !== null && !mayName(rule, model)) return modelDenied(project.id, model);
  const route = routes.find(model, principal.type === 'test');
  if (route === undefined) return unknownModel(model, routes);
  const denying = rule !== null && rule.mode === 'deny_list' ? rule : null;
  const searchless = project.controls?.forbiddenTools?.has('web_search') === true;
  if (route.within === null && denying === null && !searchless) return route;
  const within = route.within === null ? route.targets : route.within[project.environment];
  if (within.length === 0) return wrongEnvironment(project, model);
  const silent = searchless ? within.filter((target) => !alwaysSearches(target.model)) : within;
  if (silent.length === 0) return toolDenied(project.id, 'web_search');
  if (denying === null) return { ...route, targets: silent };
  // What is denied is not reached under another name either; a name on the list of the allowed is allowed as it is.
  const targets = silent.filter((target) => mayName(denying, target.model));
  return targets.length === 0 ? modelDenied(project.id, model) : { ...route, targets };
}

function wrongEnvironment({ id, environment }: ProjectState, model: string): ApiError {
  return new ApiError(
    403,
    `Project \`${id}\` is a ${environment} project, and model \`${model}\` is kept for projects of other environments.`,
    { code: 'environment_not_allowed', param: 'model' },
  );
}

export function unknownModel(model: string, routes: Routes): ApiError {
  const advice =
    routes.providers.size > 0
      ? ''
      : ' No provider is configured: use model `sandbox-small`, or an sk-test- key, which reaches the sandbox whatever model it names.';
  return new ApiError(
    404,
    `The model \`${model}\` does not exist or you do not have access to it.${advice}`,
    {
      code: 'model_not_found',
    },
  );
}

/** An operation on a stored object goes to the provider that keeps it, if the calling project owns it. */
function toOwner(
  call: Call,
  principal: ProjectPrincipal,
  id: string,
  rights: Rights,
  resume: Resume,
): Verdict {
  rights.objects.find(principal.project.id, id, (error, provider) => {
    if (error !== null) return resume(call, error);
    const keeper = provider === null ? undefined : providerNamed(rights.routes, provider);
    if (keeper === undefined) return resume(call, noSuchObject(id));
    const { environments } = keeper;
    if (environments !== null && !environments.includes(principal.project.environment)) {
      return resume(call, noSuchObject(id));
    }
    call.route = {
      model: '',
      targets: [{ provider: keeper, model: '', weight: 1, priority: 0 }],
      within: null,
    };
    resume(call, null);
  });
  return LATER;
}

function checkReferences(call: Call, principal: ProjectPrincipal, rights: Rights, resume: Resume): Verdict {
  const ids = call.asked.references;
  if (ids.length > REFERENCES_MAX)
    return new ApiError(400, `A call may refer to at most ${REFERENCES_MAX} objects.`);
  let left = ids.length;
  let failed = false;
  const keepers = new Set<string>();
  for (const id of ids) {
    rights.objects.find(principal.project.id, id, (error, provider) => {
      if (failed) return;
      if (error !== null || provider === null) {
        failed = true;
        return resume(call, error ?? noSuchReference(call, id));
      }
      keepers.add(provider);
      if (--left === 0) resume(call, keepTo(call, keepers));
    });
  }
  return LATER;
}

/** What a provider keeps only that provider can go on from. */
function keepTo(call: Call, keepers: ReadonlySet<string>): ApiError | null {
  const route: Route | null = call.route;
  const targets = route?.targets.filter((target) => keepers.has(target.provider.name)) ?? [];
  if (route === null || targets.length === 0 || keepers.size > 1) {
    return new ApiError(
      400,
      'The objects that this call refers to are kept by another provider than the one that serves this model.',
    );
  }
  call.route = { ...route, targets };
  return null;
}

function providerNamed(routes: Routes, name: string) {
  return (
    routes.providers.get(name) ??
    (routes.sandbox.provider.name === name ? routes.sandbox.provider : undefined)
  );
}

function noSuchObject(id: string): ApiError {
  return new ApiError(404, `Response with id '${id.slice(0, 100)}' not found.`);
}

function noSuchReference(call: Call, id: string): ApiError {
  const shown = id.slice(0, 100);
  return call.operation?.objects === 'creates' && shown.startsWith('resp_')
    ? new ApiError(400, `Previous response with id '${shown}' not found.`, {
        code: 'previous_response_not_found',
        param: 'previous_response_id',
      })
    : new ApiError(404, `No such object in this project: '${shown}'.`);
}
