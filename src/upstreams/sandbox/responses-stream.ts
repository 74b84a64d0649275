// A response as server-sent events, in the order of the API, each with its sequence number; the last one carries
// the whole response, which is also what a plain call gets.

import type { Generated } from './generate.ts';
import type { Reply } from './plan.ts';
import type { MadeCall } from './respond.ts';
import type { Setting } from './setting.ts';

export interface ResponseUsage {
  readonly input_tokens: number;
  readonly input_tokens_details: { readonly cached_tokens: number; readonly cache_write_tokens: number };
  readonly output_tokens: number;
  readonly output_tokens_details: { readonly reasoning_tokens: number };
  readonly total_tokens: number;
}

/** What a response says of itself from the start, more than is named here; status and output come as it grows. */
export interface ResponseObject {
  readonly id: string;
  readonly usage: ResponseUsage | null;
}

export type OutputItem =
  | { readonly kind: 'reasoning'; readonly id: string; readonly summary: string | null }
  | { readonly kind: 'message'; readonly id: string; readonly made: Generated; readonly cut: boolean }
  | { readonly kind: 'call'; readonly id: string; readonly call: MadeCall; readonly cut: boolean };

type Event = { readonly type: string } & Readonly<Record<string, unknown>>;

/** @param cut whether max_output_tokens ended it */
export function responseEvents(
  response: ResponseObject,
  output: readonly OutputItem[],
  cut: boolean,
  setting: Setting,
): { readonly reply: Reply; readonly final: object } {
  const begun = {
    ...response,
    status: 'in_progress',
    completed_at: null,
    error: null,
    incomplete_details: null,
    output: [],
    usage: null,
  };
  const final = {
    ...response,
    status: cut ? 'incomplete' : 'completed',
    completed_at: cut ? null : Math.floor(setting.now() / 1000),
    error: null,
    incomplete_details: cut ? { reason: 'max_output_tokens' } : null,
    output: output.map((item) => wholeItem(item)),
  };
  function* events(): Generator<Event> {
    yield { type: 'response.created', response: begun };
    yield { type: 'response.in_progress', response: begun };
    for (const [index, item] of output.entries()) yield* itemEvents(item, index, setting);
    yield { type: cut ? 'response.incomplete' : 'response.completed', response: final };
  }
  const count = output.reduce((sum, item) => sum + 4 + tokensOf(item), 3);
  const failure = { type: 'error', code: 'server_error', message: 'The server had an error.', param: null };
  const reply: Reply = {
    kind: 'stream',
    events: numbered(events()),
    count,
    end: '',
    errorEvent: `event: error\ndata: ${JSON.stringify({ ...failure, sequence_number: count })}\n\n`,
  };
  return { reply, final };
}

function* numbered(events: Iterable<Event>): Generator<string> {
  let number = 0;
  for (const { type, ...fields } of events) {
    yield `event: ${type}\ndata: ${JSON.stringify({ type, sequence_number: number++, ...fields })}\n\n`;
  }
}

function tokensOf(item: OutputItem): number {
  if (item.kind === 'reasoning') return 0;
  return item.kind === 'message' ? item.made.tokens.length : item.call.made.tokens.length;
}

function wholeItem(item: OutputItem): object {
  if (item.kind === 'reasoning') return reasoningItem(item.id, item.summary);
  const status = item.cut ? 'incomplete' : 'completed';
  if (item.kind === 'message') return messageItem(item.id, status, [textPart(item.made.text)]);
  return callItem(item.id, status, item.call, item.call.input);
}

function* itemEvents(item: OutputItem, index: number, setting: Setting): Generator<Event> {
  const place = { item_id: item.id, output_index: index };
  const begun =
    item.kind === 'reasoning'
      ? reasoningItem(item.id, null)
      : item.kind === 'message'
        ? messageItem(item.id, 'in_progress', [])
        : callItem(item.id, 'in_progress', item.call, '');
  yield { type: 'response.output_item.added', output_index: index, item: begun };
  if (item.kind === 'reasoning') yield* summaryEvents(item.summary, place);
  else if (item.kind === 'message') yield* messageEvents(item.made, place, setting);
  else yield* callEvents(item.call, place, setting);
  yield { type: 'response.output_item.done', output_index: index, item: wholeItem(item) };
}

function* summaryEvents(summary: string | null, place: object): Generator<Event> {
  if (summary === null) return;
  const at = { ...place, summary_index: 0 };
  yield { type: 'response.reasoning_summary_part.added', ...at, part: { type: 'summary_text', text: '' } };
  yield { type: 'response.reasoning_summary_text.delta', ...at, delta: summary };
  yield { type: 'response.reasoning_summary_text.done', ...at, text: summary };
  yield {
    type: 'response.reasoning_summary_part.done',
    ...at,
    part: { type: 'summary_text', text: summary },
  };
}

function* messageEvents(made: Generated, place: object, setting: Setting): Generator<Event> {
  const at = { ...place, content_index: 0 };
  yield { type: 'response.content_part.added', ...at, part: textPart('') };
  for (const delta of setting.tokenizer.pieces(made.tokens)) {
    if (delta !== '') yield { type: 'response.output_text.delta', ...at, delta, logprobs: [] };
  }
  yield { type: 'response.output_text.done', ...at, text: made.text, logprobs: [] };
  yield { type: 'response.content_part.done', ...at, part: textPart(made.text) };
}

function* callEvents(call: MadeCall, place: object, setting: Setting): Generator<Event> {
  const custom = call.tool.kind === 'custom';
  const name = custom ? 'response.custom_tool_call_input' : 'response.function_call_arguments';
  for (const delta of setting.tokenizer.pieces(call.made.tokens)) {
    if (delta !== '') yield { type: `${name}.delta`, ...place, delta };
  }
  if (custom) yield { type: `${name}.done`, ...place, input: call.input };
  else yield { type: `${name}.done`, ...place, name: call.tool.name, arguments: call.input };
}

function textPart(text: string): object {
  return { type: 'output_text', annotations: [], logprobs: [], text };
}

function messageItem(id: string, status: string, content: readonly object[]): object {
  return { id, type: 'message', status, content, role: 'assistant' };
}

function reasoningItem(id: string, summary: string | null): object {
  return {
    id,
    type: 'reasoning',
    summary: summary === null ? [] : [{ type: 'summary_text', text: summary }],
  };
}

function callItem(id: string, status: string, call: MadeCall, input: string): object {
  const shared = { id, status, call_id: call.id, name: call.tool.name };
  return call.tool.kind === 'custom'
    ? { type: 'custom_tool_call', ...shared, input }
    : { type: 'function_call', ...shared, arguments: input };
}
