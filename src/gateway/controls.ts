// Controls: what a project's settings and its organization's hold a call to, beyond the rights of its key. Only called
// for projects for which something is set.
//
// What is looked at here is what is sent: a body that could be read in two ways is refused, and the members that a
// control looked into are written anew from what was understood, so that a provider whose parser takes the other of two
// like-named members does not see another request than keygate did.

import type { Controls, ModelRule, Retention, TierRule } from '../controls/controls.ts';
import type { Pseudonyms } from '../controls/pseudonyms.ts';
import { ApiError } from '../platform/errors.ts';
import { ObjectScan } from '../platform/json-scan.ts';
import type { Call, ProjectPrincipal } from './call.ts';
import { toolsAsked } from './tools.ts';

type Json = Readonly<Record<string, unknown>>;

/** Members that controls look at: each must stand at most once. */
const LOOKED_AT = [
  'conversation',
  'input',
  'moderation',
  'prompt',
  'prompt_cache_options',
  'prompt_cache_retention',
  'service_tier',
  'store',
  'tool_choice',
  'tools',
  'web_search_options',
  'search_parameters',
  'plugins',
  'enable_search',
  'search_settings',
] as const;
const LOOKED_AT_SET: ReadonlySet<string> = new Set(LOOKED_AT);

/** Holds the call to its project's controls: refuses it, or notes what is changed of it before it is sent. */
export function hold(
  call: Call,
  principal: ProjectPrincipal,
  controls: Controls,
  pseudonyms: Pseudonyms,
): ApiError | null {
  const { retention, tiers } = controls;
  if (retention?.pseudonyms === true && call.asked.endUser !== null) {
    call.asked = { ...call.asked, endUser: pseudonyms.of(principal.project.id, call.asked.endUser) };
  }
  // A batch that was made before would still write its results to a file: its lines are refused too.
  const kept = call.operation?.keepsContent === true || call.order !== null;
  if (kept && retention?.zero === true) return keepsNothing(principal);
  const { json, body } = call;
  if (json === null || body === null) return null;
  if (!isPlain(body, json) && isAmbiguous(body)) return readTwoWays();
  const set = new Map<string, string>();
  const refusal =
    holdTools(call, json, principal, controls, set) ??
    (tiers === null ? null : holdTier(call, json, tiers, set)) ??
    (retention === null ? null : holdRetention(call, json, retention, set));
  if (refusal !== null) return refusal;
  if (set.size > 0) call.members = set;
  return null;
}

function holdTools(
  call: Call,
  json: Json,
  { project }: ProjectPrincipal,
  { forbiddenTools, models }: Controls,
  set: Map<string, string>,
): ApiError | null {
  if (forbiddenTools === null && models === null) return null;
  const asked = toolsAsked(json);
  for (const model of asked.models) {
    if (models !== null && !mayName(models, model)) return modelDenied(project.id, model);
  }
  for (const member of asked.members) set.set(member, JSON.stringify(json[member]));
  if (forbiddenTools === null) return null;
  for (const tool of asked.hosted) {
    if (forbiddenTools.has(tool)) return toolDenied(project.id, tool);
  }
  if (asked.unknown !== null) {
    return new ApiError(
      403,
      `Project \`${project.id}\` may only use certain tools, and \`${asked.unknown.slice(0, 64)}\` is none that this server knows.`,
      { code: 'tool_not_allowed', param: 'tools' },
    );
  }
  if (json['prompt'] !== undefined && json['prompt'] !== null && call.meter === 'responses') {
    return new ApiError(
      403,
      `Project \`${project.id}\` may only use certain tools, and a stored prompt may bring others: send its text instead.`,
      { code: 'tool_not_allowed', param: 'prompt' },
    );
  }
  return null;
}

export function toolDenied(projectId: string, tool: string): ApiError {
  return new ApiError(403, `Project \`${projectId}\` does not have access to the hosted tool \`${tool}\``, {
    code: 'tool_not_allowed',
    param: 'tools',
  });
}

/** Whether a project may name this model. */
export function mayName({ mode, models }: ModelRule, model: string): boolean {
  if (mode === 'allow_list') return models.has(model);
  const name = model.toLowerCase();
  if (models.has(name)) return false;
  // `llama3:latest` is `llama3`, and `sandbox-small:429` the sandbox's model with a script.
  const colon = name.indexOf(':');
  return colon < 0 || !models.has(name.slice(0, colon));
}

/** Operations that know `service_tier`, and whose default is set where the call names none. */
const TIERED: ReadonlySet<string> = new Set(['chat.completions.create', 'responses.create']);

function holdTier(call: Call, json: Json, rule: TierRule, set: Map<string, string>): ApiError | null {
  const asked = json['service_tier'] ?? 'auto';
  if (typeof asked !== 'string') {
    return new ApiError(400, "Invalid type for 'service_tier': expected a string.", {
      code: 'invalid_type',
      param: 'service_tier',
    });
  }
  const tier = asked === 'auto' ? rule.default : asked;
  if (rule.enabled !== null && !rule.enabled.has(tier)) {
    return new ApiError(
      400,
      'Invalid service_tier argument: The requested service tier is not allowed for this project.',
      { param: 'service_tier' },
    );
  }
  if (json['service_tier'] === tier || !TIERED.has(call.operation?.name ?? '')) return null;
  set.set('service_tier', JSON.stringify(tier));
  // What the call may cost is reckoned by the tier that is sent.
  call.json = { ...json, service_tier: tier };
  return null;
}

function holdRetention(
  call: Call,
  json: Json,
  retention: Retention,
  set: Map<string, string>,
): ApiError | null {
  if (!retention.zero) return null;
  if (retention.strict) {
    const member = keptAtProvider(json);
    if (member !== null) {
      return new ApiError(
        400,
        `'${member}' would have the provider keep content beyond this call, which this project's data retention does not allow.`,
        { code: 'zero_data_retention', param: member },
      );
    }
  }
  // As on the platform: treated as false, even if the request says true.
  const { store } = json;
  const creates = call.operation?.objects === 'creates';
  if (store === false || (store === undefined && !creates)) return null;
  set.set('store', 'false');
  call.asked = { ...call.asked, keeps: false };
  return null;
}

/** The first member that has the provider keep content longer than the call lasts. */
function keptAtProvider(json: Json): string | null {
  if (json['store'] === true) return 'store';
  if (json['conversation'] !== undefined && json['conversation'] !== null) return 'conversation';
  if (json['prompt_cache_retention'] === '24h') return 'prompt_cache_retention';
  const { hosted } = toolsAsked(json);
  return hosted.has('code_interpreter') || hosted.has('file_search') ? 'tools' : null;
}

function keepsNothing({ project }: ProjectPrincipal): ApiError {
  return new ApiError(
    403,
    `The data retention of project \`${project.id}\` is zero: what this operation keeps on disk cannot be used in it.`,
    { code: 'zero_data_retention' },
  );
}

/** Whether no member that is looked at can stand twice: a few searches in native code, and nearly always the answer. */
function isPlain(body: Buffer, json: Json): boolean {
  if (body.includes('\\u')) return false;
  for (const name of LOOKED_AT) {
    if (json[name] === undefined) continue;
    const quoted = `"${name}"`;
    if (body.indexOf(quoted, body.indexOf(quoted) + quoted.length) >= 0) return false;
  }
  return true;
}

function isAmbiguous(body: Buffer): boolean {
  return !(ObjectScan.over(body, Number.POSITIVE_INFINITY, LOOKED_AT_SET) instanceof ObjectScan);
}

function readTwoWays(): ApiError {
  return new ApiError(
    400,
    'The JSON body names a member twice, or spells a name with escapes: it could be read in two ways.',
  );
}

/** The platform's refusal of a model that a project may not use. */
export function modelDenied(projectId: string, model: string): ApiError {
  return new ApiError(403, `Project \`${projectId}\` does not have access to model \`${model}\``, {
    code: 'model_not_found',
  });
}
