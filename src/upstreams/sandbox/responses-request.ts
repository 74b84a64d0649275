// A response's request, as the API takes it: what it refuses is refused in its words. Parameters that make no
// difference here are let through unread, new ones too.

import { z } from 'zod';
import { effort, functionName, temperature, topP } from './chat-request.ts';
import { badRequest, missing, readAt } from './refusal.ts';

const part = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('input_text'), text: z.string() }),
  z.looseObject({ type: z.literal('input_image') }),
  z.looseObject({ type: z.literal('input_file') }),
  z.looseObject({ type: z.literal('input_audio') }),
  z.looseObject({ type: z.literal('output_text'), text: z.string() }),
  z.looseObject({ type: z.literal('refusal'), refusal: z.string() }),
]);

const message = z.looseObject({
  type: z.literal('message').optional(),
  role: z.enum(['user', 'assistant', 'system', 'developer']),
  content: z.union([z.string(), z.array(part)]),
});

const output = z.union([z.string(), z.array(z.looseObject({}))]);

// Other items (those of hosted tools) are let through and counted, and say nothing to the sandbox.
const other = z.looseObject({ type: z.string() });
const KNOWN = {
  message,
  function_call: z.looseObject({
    type: z.literal('function_call'),
    call_id: z.string(),
    name: z.string(),
    arguments: z.string(),
  }),
  function_call_output: z.looseObject({
    type: z.literal('function_call_output'),
    call_id: z.string(),
    output,
  }),
  custom_tool_call: z.looseObject({
    type: z.literal('custom_tool_call'),
    call_id: z.string(),
    name: z.string(),
    input: z.string(),
  }),
  custom_tool_call_output: z.looseObject({
    type: z.literal('custom_tool_call_output'),
    call_id: z.string(),
    output,
  }),
};

const tool = z.looseObject({ type: z.string() });
const KNOWN_TOOLS = {
  function: z.looseObject({
    type: z.literal('function'),
    name: functionName,
    description: z.string().nullish(),
    parameters: z.record(z.string(), z.unknown()).nullish(),
    strict: z.boolean().nullish(),
  }),
  custom: z.looseObject({
    type: z.literal('custom'),
    name: functionName,
    description: z.string().nullish(),
    format: z.looseObject({ type: z.string() }).nullish(),
  }),
};

const format = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text') }),
  z.looseObject({ type: z.literal('json_object') }),
  z.looseObject({
    type: z.literal('json_schema'),
    name: functionName,
    schema: z.record(z.string(), z.unknown()),
    strict: z.boolean().nullish(),
  }),
]);

export const responsesRequest = z.looseObject({
  model: z.string(),
  input: z.union([z.string(), z.array(z.looseObject({}))]).nullish(),
  instructions: z.string().nullish(),
  previous_response_id: z.string().nullish(),
  conversation: z.unknown().optional(),
  prompt: z.looseObject({ id: z.string() }).nullish(),
  temperature,
  top_p: topP,
  max_output_tokens: z.int().min(16).nullish(),
  stream: z.boolean().nullish(),
  background: z.boolean().nullish(),
  store: z.boolean().nullish(),
  tools: z.array(tool).max(128).nullish(),
  tool_choice: z
    .union([
      z.enum(['none', 'auto', 'required']),
      z.looseObject({ type: z.string(), name: z.string().nullish() }),
    ])
    .nullish(),
  parallel_tool_calls: z.boolean().nullish(),
  text: z.looseObject({ format: format.nullish() }).nullish(),
  reasoning: z.looseObject({ effort, summary: z.enum(['auto', 'concise', 'detailed']).nullish() }).nullish(),
  include: z.array(z.string()).nullish(),
  metadata: z.record(z.string(), z.string()).nullish(),
  truncation: z.enum(['auto', 'disabled']).nullish(),
});

export type ResponsesRequest = z.output<typeof responsesRequest>;

export type Item =
  | { readonly kind: 'message'; readonly role: string; readonly text: string }
  | { readonly kind: 'call'; readonly id: string }
  | { readonly kind: 'output'; readonly id: string; readonly text: string };

/** The items of the input that say something here, each checked. */
export function itemsOf(input: ResponsesRequest['input']): Item[] {
  if (input == null) return [];
  if (typeof input === 'string') return [{ kind: 'message', role: 'user', text: input }];
  return input.flatMap((each, index): Item[] => {
    const type = each['type'] ?? ('role' in each ? 'message' : undefined);
    const read = <S extends z.ZodType>(schema: S): z.output<S> => readAt(schema, each, ['input', index]);
    switch (type) {
      case 'message': {
        const { role, content } = read(KNOWN.message);
        return [{ kind: 'message', role, text: textOf(content) }];
      }
      case 'function_call':
        return [{ kind: 'call', id: read(KNOWN.function_call).call_id }];
      case 'custom_tool_call':
        return [{ kind: 'call', id: read(KNOWN.custom_tool_call).call_id }];
      case 'function_call_output': {
        const made = read(KNOWN.function_call_output);
        return [{ kind: 'output', id: made.call_id, text: textOf(made.output) }];
      }
      case 'custom_tool_call_output': {
        const made = read(KNOWN.custom_tool_call_output);
        return [{ kind: 'output', id: made.call_id, text: textOf(made.output) }];
      }
      default:
        read(other);
        return [];
    }
  });
}

function textOf(content: string | readonly object[]): string {
  if (typeof content === 'string') return content;
  return content
    .map((each) => Reflect.get(each, 'text'))
    .filter((text) => typeof text === 'string')
    .join('');
}

export type ResponseTool =
  | z.output<(typeof KNOWN_TOOLS)['function']>
  | z.output<(typeof KNOWN_TOOLS)['custom']>;

/** The tools that the caller runs; the provider's own are offered and never used. */
export function ownTools(tools: ResponsesRequest['tools']): { tool: ResponseTool; index: number }[] {
  const own: { tool: ResponseTool; index: number }[] = [];
  for (const [index, each] of (tools ?? []).entries()) {
    if (each.type === 'function')
      own.push({ tool: readAt(KNOWN_TOOLS.function, each, ['tools', index]), index });
    if (each.type !== 'custom') continue;
    const tool = readAt(KNOWN_TOOLS.custom, each, ['tools', index]);
    if (tool.format?.type === 'grammar') {
      throw badRequest(
        'The sandbox does not follow a grammar: give the custom tool the format text.',
        `tools[${index}].format`,
        'unsupported_value',
      );
    }
    own.push({ tool, index });
  }
  return own;
}

/** @throws {ApiError} 400 for what the sandbox cannot do, and what stands beside what it must not */
export function checkResponse(request: ResponsesRequest): void {
  const { input, previous_response_id, prompt } = request;
  if (request.background === true) {
    throw badRequest('The sandbox answers at once: leave out background.', 'background', 'unsupported_value');
  }
  if (request.conversation != null) {
    throw badRequest(
      'The sandbox keeps no conversations: send the input items, or previous_response_id.',
      'conversation',
      'unsupported_value',
    );
  }
  if (prompt != null) {
    throw badRequest(
      'The sandbox keeps no prompts: send instructions and input.',
      'prompt',
      'unsupported_value',
    );
  }
  if (input == null && previous_response_id == null) throw missing('input');
  if (Array.isArray(input) && input.length === 0 && previous_response_id == null) {
    throw badRequest(
      "Invalid 'input': empty array. Expected an array with minimum length 1, but got an empty array instead.",
      'input',
      'empty_array',
    );
  }
}
