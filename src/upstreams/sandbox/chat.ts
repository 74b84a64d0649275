// POST /v1/chat/completions.

import { countPrompt } from '../../spend/count-prompt.ts';
import { type ChatMessage, type ChatRequest, chatRequest, checkChat } from './chat-request.ts';
import { eventsOf } from './chat-stream.ts';
import { type Caches, cachesOf, checkContext, checkOutput, checkTotal, reasoningTokens } from './generate.ts';
import type { Inquiry } from './inquiry.ts';
import { jsonReply, type Reply } from './plan.ts';
import { badRequest, read } from './refusal.ts';
import { type Answered, digest, type Form, respond, type Turn } from './respond.ts';
import { strictFault } from './schema-strict.ts';
import type { Setting } from './setting.ts';
import { NO_TOOLS, type Tool, type ToolChoice, type ToolOffer } from './tools.ts';

export interface ChatUsage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
  readonly prompt_tokens_details: {
    readonly cached_tokens: number;
    readonly cache_write_tokens: number;
    readonly audio_tokens: number;
  };
  readonly completion_tokens_details: {
    readonly reasoning_tokens: number;
    readonly audio_tokens: number;
    readonly accepted_prediction_tokens: number;
    readonly rejected_prediction_tokens: number;
  };
}

export interface ChatChoice {
  readonly answer: Answered;
  readonly finish: 'stop' | 'length' | 'tool_calls';
}

export interface ChatHead {
  readonly id: string;
  readonly object: 'chat.completion' | 'chat.completion.chunk';
  readonly created: number;
  readonly model: string;
  readonly service_tier: 'default';
  readonly system_fingerprint: 'fp_sandbox';
}

export function chat(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(chatRequest, inquiry.body);
  checkChat(request);
  const { script, served: model } = inquiry;
  const prompt = countPrompt(inquiry.body, model.id).tokens;
  const limitName = request.max_completion_tokens == null ? 'max_tokens' : 'max_completion_tokens';
  const limit = request.max_completion_tokens ?? request.max_tokens ?? null;
  if (inquiry.own) checkOutput(limit, model.maxOutputTokens, limitName);
  checkContext(
    prompt,
    script.tokens === null ? Math.min(limit ?? 0, model.maxOutputTokens) : 0,
    model.contextTokens,
    'messages',
  );
  const offer = offerOf(request);
  const form = formOf(request);
  const room = limit ?? (script.tokens === null ? model.maxOutputTokens : Number.POSITIVE_INFINITY);
  const reasoning = Math.min(reasoningTokens(request.reasoning_effort, script.reasoning), room);
  const turn = turnOf(request.messages);
  const stop = request.stop == null ? [] : [request.stop].flat();
  const choices: ChatChoice[] = [];
  for (let index = 0; index < (request.n ?? 1); index++) {
    const limits = { stop, most: room - reasoning, exactly: script.tokens };
    const answer = respond({ model: model.id, turn, offer, form, script, limits, index }, setting);
    choices.push({ answer, finish: finishOf(answer, offer.choice) });
    checkTotal(choices.reduce((sum, each) => sum + each.answer.tokens, 0));
  }
  const completion = choices.reduce((sum, { answer }) => sum + answer.tokens + reasoning, 0);
  const usage = usageOf(prompt, completion, reasoning * choices.length, cachesOf(prompt, script));
  const head: ChatHead = {
    id: setting.newId('chatcmpl-', 29),
    object: request.stream === true ? 'chat.completion.chunk' : 'chat.completion',
    created: Math.floor(setting.now() / 1000),
    model: model.id,
    service_tier: 'default',
    system_fingerprint: 'fp_sandbox',
  };
  if (request.stream === true) {
    const asked = request.stream_options?.include_usage === true && script.usage;
    return eventsOf(head, choices, asked ? usage : null, setting.tokenizer);
  }
  return jsonReply({
    ...head,
    choices: choices.map(wholeChoice),
    ...(script.usage ? { usage } : {}),
  });
}

function wholeChoice({ answer, finish }: ChatChoice, index: number) {
  const calls = answer.calls.map(({ id, tool, input }) =>
    tool.kind === 'function'
      ? { id, type: 'function', function: { name: tool.name, arguments: input } }
      : { id, type: 'custom', custom: { name: tool.name, input } },
  );
  return {
    index,
    message: {
      role: 'assistant',
      content: answer.text?.text ?? null,
      ...(calls.length > 0 ? { tool_calls: calls } : {}),
      refusal: null,
      annotations: [],
    },
    logprobs: null,
    finish_reason: finish,
  };
}

// A call that was forced by name ends with `stop` (OpenAI's guide "Structured outputs", handling edge cases).
function finishOf(answer: Answered, choice: ToolChoice): ChatChoice['finish'] {
  if (answer.text !== null) return answer.text.end;
  if (answer.calls.some((call) => call.made.end === 'length')) return 'length';
  return typeof choice === 'object' ? 'stop' : 'tool_calls';
}

function usageOf(prompt: number, completion: number, reasoning: number, caches: Caches): ChatUsage {
  return {
    prompt_tokens: prompt,
    completion_tokens: completion,
    total_tokens: prompt + completion,
    prompt_tokens_details: { cached_tokens: caches.read, cache_write_tokens: caches.write, audio_tokens: 0 },
    completion_tokens_details: {
      reasoning_tokens: reasoning,
      audio_tokens: 0,
      accepted_prediction_tokens: 0,
      rejected_prediction_tokens: 0,
    },
  };
}

function turnOf(messages: readonly ChatMessage[]): Turn {
  const last = messages.findLastIndex((each) => each.role === 'user');
  const since = messages.slice(last + 1).filter((each) => each.role === 'tool' || each.role === 'function');
  return {
    said: last < 0 ? textOf(messages[0]) : textOf(messages[last]),
    results: since.map(textOf),
    all: digest(messages),
  };
}

function textOf(message: ChatMessage | undefined): string {
  const content = message?.content;
  if (typeof content === 'string') return content;
  return (content ?? []).map((part) => (part.type === 'text' ? part.text : '')).join('');
}

function offerOf(request: ChatRequest): ToolOffer {
  const tools: Tool[] = (request.tools ?? []).map((each, index) => {
    const { name, description } = each.type === 'function' ? each.function : each.custom;
    return {
      kind: each.type,
      name,
      description: description ?? '',
      parameters: each.type === 'function' ? each.function.parameters : undefined,
      place: `tools[${index}].function.parameters`,
    };
  });
  for (const [index, each] of (request.tools ?? []).entries()) {
    if (each.type !== 'function' || each.function.strict !== true) continue;
    const fault = strictFault(each.function.parameters ?? {});
    if (fault === null) continue;
    throw badRequest(
      `Invalid schema for function '${each.function.name}': ${fault}`,
      `tools[${index}].function.parameters`,
      'invalid_function_parameters',
    );
  }
  if (tools.length === 0) return NO_TOOLS;
  return {
    ...allowed(tools, request.tool_choice ?? 'auto'),
    parallel: request.parallel_tool_calls !== false,
  };
}

function allowed(
  tools: readonly Tool[],
  choice: NonNullable<ChatRequest['tool_choice']>,
): Pick<ToolOffer, 'tools' | 'choice'> {
  if (typeof choice === 'string') return { tools, choice };
  if (choice.type === 'function') return { tools, choice: { name: choice.function.name } };
  if (choice.type === 'custom') return { tools, choice: { name: choice.custom.name } };
  const names = new Set(
    choice.allowed_tools.tools.map((each) => Reflect.get(Object(each['function'] ?? each['custom']), 'name')),
  );
  return { tools: tools.filter((tool) => names.has(tool.name)), choice: choice.allowed_tools.mode };
}

function formOf(request: ChatRequest): Form {
  const format = request.response_format;
  if (format == null || format.type === 'text') return { kind: 'text' };
  if (format.type === 'json_object') {
    if (!JSON.stringify(request.messages).toLowerCase().includes('json')) {
      throw badRequest(
        "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        'messages',
        null,
      );
    }
    return { kind: 'json' };
  }
  const { name, schema, strict } = format.json_schema;
  const refuse = (why: string) =>
    badRequest(`Invalid schema for response_format '${name}': ${why}`, 'response_format', null);
  const fault = strict === true ? strictFault(schema ?? {}) : null;
  if (fault !== null) throw refuse(fault);
  return { kind: 'schema', schema: schema ?? {}, refuse };
}
