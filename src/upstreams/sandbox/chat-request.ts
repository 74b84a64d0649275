// A chat completion's request, as the API takes it: what it refuses is refused in its words. Parameters that make
// no difference here are let through unread, new ones too.

import { z } from 'zod';
import { badRequest } from './refusal.ts';

const text = z.looseObject({ type: z.literal('text'), text: z.string() });
const textParts = z.union([z.string(), z.array(text).min(1)]);
const userParts = z.union([
  z.string(),
  z
    .array(
      z.discriminatedUnion('type', [
        text,
        z.looseObject({ type: z.literal('image_url'), image_url: z.looseObject({ url: z.string() }) }),
        z.looseObject({ type: z.literal('input_audio'), input_audio: z.looseObject({ data: z.string() }) }),
        z.looseObject({ type: z.literal('file'), file: z.looseObject({}) }),
      ]),
    )
    .min(1),
]);
const assistantParts = z.union([
  z.string(),
  z.array(
    z.discriminatedUnion('type', [text, z.looseObject({ type: z.literal('refusal'), refusal: z.string() })]),
  ),
]);
const madeCall = z.discriminatedUnion('type', [
  z.looseObject({
    id: z.string(),
    type: z.literal('function'),
    function: z.looseObject({ name: z.string(), arguments: z.string() }),
  }),
  z.looseObject({
    id: z.string(),
    type: z.literal('custom'),
    custom: z.looseObject({ name: z.string(), input: z.string() }),
  }),
]);

const message = z.discriminatedUnion('role', [
  z.looseObject({ role: z.literal('system'), content: textParts }),
  z.looseObject({
    role: z.literal('assistant'),
    content: assistantParts.nullish(),
    tool_calls: z.array(madeCall).nullish(),
  }),
  z.looseObject({ role: z.literal('user'), content: userParts }),
  z.looseObject({ role: z.literal('function'), content: z.string().nullable(), name: z.string() }),
  z.looseObject({ role: z.literal('tool'), content: textParts, tool_call_id: z.string() }),
  z.looseObject({ role: z.literal('developer'), content: textParts }),
]);

export const functionName = z
  .string()
  .min(1)
  .max(64)
  .regex(/^[a-zA-Z0-9_-]+$/, "Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'");
const schemaObject = z.record(z.string(), z.unknown());

const tool = z.discriminatedUnion('type', [
  z.looseObject({
    type: z.literal('function'),
    function: z.looseObject({
      name: functionName,
      description: z.string().nullish(),
      parameters: schemaObject.nullish(),
      strict: z.boolean().nullish(),
    }),
  }),
  z.looseObject({
    type: z.literal('custom'),
    custom: z.looseObject({
      name: functionName,
      description: z.string().nullish(),
      format: z.looseObject({ type: z.string() }).nullish(),
    }),
  }),
]);

const toolChoice = z.union([
  z.enum(['none', 'auto', 'required']),
  z.discriminatedUnion('type', [
    z.looseObject({ type: z.literal('function'), function: z.looseObject({ name: z.string() }) }),
    z.looseObject({ type: z.literal('custom'), custom: z.looseObject({ name: z.string() }) }),
    z.looseObject({
      type: z.literal('allowed_tools'),
      allowed_tools: z.looseObject({
        mode: z.enum(['auto', 'required']),
        tools: z.array(z.looseObject({})),
      }),
    }),
  ]),
]);

const responseFormat = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text') }),
  z.looseObject({ type: z.literal('json_object') }),
  z.looseObject({
    type: z.literal('json_schema'),
    json_schema: z.looseObject({
      name: functionName,
      schema: schemaObject.nullish(),
      strict: z.boolean().nullish(),
    }),
  }),
]);

export const effort = z.enum(['none', 'minimal', 'low', 'medium', 'high', 'xhigh', 'max']).nullish();
const penalty = z.number().min(-2).max(2).nullish();
export const stop = z.union([z.string(), z.array(z.string()).max(4)]).nullish();
export const temperature = z.number().min(0).max(2).nullish();
export const topP = z.number().min(0).max(1).nullish();

export const chatRequest = z.looseObject({
  model: z.string(),
  messages: z.array(message).min(1),
  temperature,
  top_p: topP,
  frequency_penalty: penalty,
  presence_penalty: penalty,
  n: z.int().min(1).max(128).nullish(),
  max_tokens: z.int().min(1).nullish(),
  max_completion_tokens: z.int().min(1).nullish(),
  stop,
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  seed: z.int().nullish(),
  logprobs: z.boolean().nullish(),
  top_logprobs: z.int().min(0).max(20).nullish(),
  logit_bias: z.record(z.string(), z.number().min(-100).max(100)).nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: toolChoice.nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  response_format: responseFormat.nullish(),
  reasoning_effort: effort,
  modalities: z.array(z.enum(['text', 'audio'])).nullish(),
  functions: z.array(z.looseObject({})).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  user: z.string().nullish(),
});

export type ChatRequest = z.output<typeof chatRequest>;
export type ChatMessage = ChatRequest['messages'][number];

/**
 * What no schema can say: what stands beside what.
 *
 * @throws {ApiError} 400
 */
export function checkChat(request: ChatRequest): void {
  if (request.stream !== true && request.stream_options) {
    throw badRequest(
      "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
      'stream_options',
      null,
    );
  }
  if (request.top_logprobs != null && request.logprobs !== true) {
    throw badRequest(
      "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.",
      'top_logprobs',
      null,
    );
  }
  if (request.max_tokens != null && request.max_completion_tokens != null) {
    throw badRequest(
      "Setting 'max_tokens' and 'max_completion_tokens' at the same time is not supported.",
      'max_tokens',
      null,
    );
  }
  if (request.tool_choice != null && request.tool_choice !== 'none' && !request.tools?.length) {
    throw badRequest(
      "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
      'tool_choice',
      null,
    );
  }
  if (request.modalities?.includes('audio')) {
    throw badRequest(
      'The sandbox does not speak in a chat: leave audio out of modalities, or use audio/speech.',
      'modalities',
      'unsupported_value',
    );
  }
  if (request.functions) {
    throw badRequest(
      "The sandbox takes tools in 'tools', not in 'functions', which is deprecated.",
      'functions',
      'unsupported_parameter',
    );
  }
  checkTools(request);
  checkCalls(request.messages);
}

function checkTools(request: ChatRequest): void {
  const grammar =
    request.tools?.findIndex((each) => each.type === 'custom' && each.custom.format?.type === 'grammar') ??
    -1;
  if (grammar >= 0) {
    throw badRequest(
      'The sandbox does not follow a grammar: give the custom tool the format text.',
      `tools[${grammar}].custom.format`,
      'unsupported_value',
    );
  }
  const choice = request.tool_choice;
  if (typeof choice !== 'object' || choice === null || choice.type === 'allowed_tools') return;
  const name = choice.type === 'function' ? choice.function.name : choice.custom.name;
  const known = request.tools?.some(
    (each) => (each.type === 'function' ? each.function.name : each.custom.name) === name,
  );
  if (!known) {
    throw badRequest(`Tool choice '${name}' not found in 'tools' parameter.`, 'tool_choice', null);
  }
}

// Every call is answered, right after it is made, and nothing else is.
function checkCalls(messages: readonly ChatMessage[]): void {
  let open = new Set<string>();
  for (const [index, each] of messages.entries()) {
    const param = `messages.[${index}].role`;
    if (each.role === 'tool') {
      if (!open.delete(each.tool_call_id)) {
        throw badRequest(
          "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
          param,
          null,
        );
      }
      continue;
    }
    refuseOpen(open, param);
    open = new Set(each.role === 'assistant' ? each.tool_calls?.map((call) => call.id) : []);
    if (each.role === 'assistant' && each.content == null && open.size === 0 && !('function_call' in each)) {
      throw badRequest(
        "Invalid value for 'content': expected a string, got null.",
        `messages.[${index}].content`,
        null,
      );
    }
  }
  refuseOpen(open, `messages.[${messages.length}].role`);
}

function refuseOpen(open: ReadonlySet<string>, param: string): void {
  if (open.size === 0) return;
  throw badRequest(
    "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. " +
      `The following tool_call_ids did not have response messages: ${[...open].join(', ')}`,
    param,
    null,
  );
}
