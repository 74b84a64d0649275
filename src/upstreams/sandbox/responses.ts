// POST /v1/responses and /v1/responses/input_tokens.

import { countPrompt } from '../../spend/count-prompt.ts';
import { cachesOf, checkOutput, reasoningTokens } from './generate.ts';
import type { Inquiry } from './inquiry.ts';
import type { SandboxModel } from './model.ts';
import { jsonReply, type Reply } from './plan.ts';
import { excerpt } from './prose.ts';
import { badRequest, read } from './refusal.ts';
import { digest, type Form, respond, type Turn } from './respond.ts';
import {
  checkResponse,
  type Item,
  itemsOf,
  ownTools,
  type ResponsesRequest,
  responsesRequest,
} from './responses-request.ts';
import { type OutputItem, type ResponseObject, responseEvents } from './responses-stream.ts';
import { strictFault } from './schema-strict.ts';
import type { PastResponse, Setting } from './setting.ts';
import { NO_TOOLS, type Tool, type ToolChoice, type ToolOffer } from './tools.ts';

export function responses(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(responsesRequest, inquiry.body);
  checkResponse(request);
  const { script, served: model } = inquiry;
  const past = pastOf(request, setting);
  const items = itemsOf(request.input);
  checkCalls(items, past);
  const input = countPrompt(inquiry.body, model.id).tokens + past.tokens;
  checkInput(input, model);
  const limit = request.max_output_tokens ?? null;
  if (inquiry.own) checkOutput(limit, model.maxOutputTokens, 'max_output_tokens');
  const room = limit ?? (script.tokens === null ? model.maxOutputTokens : Number.POSITIVE_INFINITY);
  const reasoning = Math.min(reasoningTokens(request.reasoning?.effort, script.reasoning), room);
  const turn = turnOf(items, request);
  const limits = { stop: [], most: room - reasoning, exactly: script.tokens };
  const ask = {
    model: model.id,
    turn,
    offer: offerOf(request),
    form: formOf(request),
    script,
    limits,
    index: 0,
  };
  const answer = respond(ask, setting);
  const cut = answer.text?.end === 'length' || answer.calls.some((call) => call.made.end === 'length');

  const output: OutputItem[] = [];
  if (reasoning > 0) {
    const summary = request.reasoning?.summary ? `Thought about: ${excerpt(turn.said, 80)}` : null;
    output.push({ kind: 'reasoning', id: setting.newId('rs_', 48), summary });
  }
  if (answer.text !== null)
    output.push({ kind: 'message', id: setting.newId('msg_', 48), made: answer.text, cut });
  for (const call of answer.calls) {
    output.push({
      kind: 'call',
      id: setting.newId(call.tool.kind === 'custom' ? 'ctc_' : 'fc_', 48),
      call,
      cut,
    });
  }
  const outputTokens = answer.tokens + reasoning;
  const caches = cachesOf(input, script);
  const response: ResponseObject = {
    ...headOf(request, model, setting),
    usage: script.usage
      ? {
          input_tokens: input,
          input_tokens_details: { cached_tokens: caches.read, cache_write_tokens: caches.write },
          output_tokens: outputTokens,
          output_tokens_details: { reasoning_tokens: reasoning },
          total_tokens: input + outputTokens,
        }
      : null,
  };
  if (request.store !== false) {
    const openCalls = answer.calls.map((call) => call.id);
    setting.responses.set(response.id, { tokens: input + outputTokens, openCalls });
  }
  const stream = responseEvents(response, output, cut, setting);
  return request.stream === true ? stream.reply : jsonReply(stream.final);
}

export function inputTokens(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(responsesRequest.partial({ model: true }), inquiry.body);
  checkResponse({ ...request, model: request.model ?? '' });
  itemsOf(request.input);
  const past = pastOf(request, setting);
  const tokens = countPrompt(inquiry.body, inquiry.served.id).tokens + past.tokens;
  return jsonReply({ object: 'response.input_tokens', input_tokens: tokens });
}

function pastOf(request: Pick<ResponsesRequest, 'previous_response_id'>, setting: Setting): PastResponse {
  const id = request.previous_response_id;
  if (id == null) return { tokens: 0, openCalls: [] };
  const past = setting.responses.get(id);
  if (past !== undefined) return past;
  throw badRequest(
    `Previous response with id '${id}' not found.`,
    'previous_response_id',
    'previous_response_not_found',
  );
}

// An output belongs to a call, of this input or of the response before, and every call has one.
function checkCalls(items: readonly Item[], past: PastResponse): void {
  const open = new Set(past.openCalls);
  for (const item of items) {
    if (item.kind === 'call') open.add(item.id);
    if (item.kind === 'output' && !open.delete(item.id)) {
      throw badRequest(`No tool call found for function call output with call_id ${item.id}.`, 'input', null);
    }
  }
  const first = [...open][0];
  if (first !== undefined)
    throw badRequest(`No tool output found for function call ${first}.`, 'input', null);
}

function checkInput(input: number, model: SandboxModel): void {
  if (input <= model.contextTokens) return;
  throw badRequest(
    'Your input exceeds the context window of this model. Please adjust your input and try again.',
    'input',
    'context_length_exceeded',
  );
}

function turnOf(items: readonly Item[], request: ResponsesRequest): Turn {
  const last = items.findLastIndex((item) => item.kind === 'message' && item.role === 'user');
  const spoken = items[last < 0 ? 0 : last];
  return {
    said: spoken?.kind === 'message' ? spoken.text : '',
    results: items.slice(last + 1).flatMap((item) => (item.kind === 'output' ? [item.text] : [])),
    all: digest([request.instructions ?? null, request.input ?? null, request.previous_response_id ?? null]),
  };
}

function offerOf(request: ResponsesRequest): ToolOffer {
  const own = ownTools(request.tools);
  const tools = own.map(({ tool, index }): Tool => {
    const parameters = tool.type === 'function' ? tool.parameters : undefined;
    if (tool.type === 'function' && tool.strict === true) {
      const fault = strictFault(parameters ?? {});
      if (fault !== null) {
        throw badRequest(
          `Invalid schema for function '${tool.name}': ${fault}`,
          `tools[${index}].parameters`,
          'invalid_function_parameters',
        );
      }
    }
    return {
      kind: tool.type,
      name: tool.name,
      description: tool.description ?? '',
      parameters,
      place: `tools[${index}].parameters`,
    };
  });
  const choice = request.tool_choice ?? 'auto';
  const parallel = request.parallel_tool_calls !== false;
  if (typeof choice === 'string') return tools.length === 0 ? NO_TOOLS : { tools, choice, parallel };
  if (choice.type === 'allowed_tools') {
    const names = new Set([choice['tools']].flat().map((each) => Reflect.get(Object(each), 'name')));
    const mode: ToolChoice = choice['mode'] === 'required' ? 'required' : 'auto';
    return { tools: tools.filter((tool) => names.has(tool.name)), choice: mode, parallel };
  }
  const name = choice.name ?? '';
  if (!tools.some((tool) => tool.name === name)) {
    const why =
      choice.type === 'function' || choice.type === 'custom'
        ? `Tool choice '${name}' not found in 'tools' parameter.`
        : `The sandbox runs no tool of the provider's own: '${choice.type}' cannot be chosen.`;
    throw badRequest(why, 'tool_choice', null);
  }
  return { tools, choice: { name }, parallel };
}

function formOf(request: ResponsesRequest): Form {
  const format = request.text?.format;
  if (format == null || format.type === 'text') return { kind: 'text' };
  if (format.type === 'json_object') {
    if (!JSON.stringify([request.input, request.instructions]).toLowerCase().includes('json')) {
      throw badRequest(
        "Response input messages must contain the word 'json' in some form to use 'text.format' of type 'json_object'.",
        'input',
        null,
      );
    }
    return { kind: 'json' };
  }
  const refuse = (why: string) =>
    badRequest(
      `Invalid schema for response_format '${format.name}': ${why}`,
      'text.format.schema',
      'invalid_json_schema',
    );
  const fault = format.strict === true ? strictFault(format.schema) : null;
  if (fault !== null) throw refuse(fault);
  return { kind: 'schema', schema: format.schema, refuse };
}

function headOf(request: ResponsesRequest, model: SandboxModel, setting: Setting) {
  return {
    id: setting.newId('resp_', 48),
    object: 'response',
    created_at: Math.floor(setting.now() / 1000),
    background: false,
    instructions: request.instructions ?? null,
    max_output_tokens: request.max_output_tokens ?? null,
    max_tool_calls: null,
    model: model.id,
    parallel_tool_calls: request.parallel_tool_calls !== false,
    previous_response_id: request.previous_response_id ?? null,
    prompt_cache_key: null,
    reasoning: { effort: request.reasoning?.effort ?? null, summary: request.reasoning?.summary ?? null },
    safety_identifier: null,
    service_tier: 'default',
    store: request.store !== false,
    temperature: request.temperature ?? 1,
    text: { verbosity: 'medium', ...request.text, format: request.text?.format ?? { type: 'text' } },
    tool_choice: request.tool_choice ?? 'auto',
    tools: request.tools ?? [],
    top_logprobs: 0,
    top_p: request.top_p ?? 1,
    truncation: request.truncation ?? 'disabled',
    metadata: request.metadata ?? {},
  };
}
