// A chat completion as server-sent events: a chunk a token, each choice in turn, and [DONE].

import type { Tokenizer } from '../../spend/count-text.ts';
import type { ChatChoice, ChatHead, ChatUsage } from './chat.ts';
import { type Reply, SERVER_ERROR } from './plan.ts';
import type { MadeCall } from './respond.ts';

/** @param usage what the extra last chunk tells; null where none was asked for */
export function eventsOf(
  head: ChatHead,
  choices: readonly ChatChoice[],
  usage: ChatUsage | null,
  tokenizer: Tokenizer,
): Reply {
  const tokens = choices.reduce((sum, { answer }) => sum + answer.tokens, 0);
  return {
    kind: 'stream',
    events: chunks(head, choices, usage, tokenizer),
    count: tokens + choices.length * 2 + (usage === null ? 0 : 1),
    end: 'data: [DONE]\n\n',
    errorEvent: `data: ${JSON.stringify({ error: SERVER_ERROR })}\n\n`,
  };
}

function* chunks(
  head: ChatHead,
  choices: readonly ChatChoice[],
  usage: ChatUsage | null,
  tokenizer: Tokenizer,
): Generator<string> {
  // All chunks are alike but for their deltas: the rest is written once.
  const fields = JSON.stringify(head).slice(0, -1);
  const tail = usage === null ? '}\n\n' : ',"usage":null}\n\n';
  const chunk = (index: number, delta: string, finish: string | null): string =>
    `data: ${fields},"choices":[{"index":${index},"delta":${delta},"logprobs":null,"finish_reason":${finish === null ? 'null' : `"${finish}"`}}]${tail}`;

  const running = choices.map((choice, index) => ({ index, choice, deltas: deltasOf(choice, tokenizer) }));
  while (running.length > 0) {
    for (let at = 0; at < running.length; at++) {
      const each = running[at];
      const next = each?.deltas.next();
      if (each === undefined || next === undefined) continue;
      if (next.done) {
        yield chunk(each.index, '{}', each.choice.finish);
        running.splice(at--, 1);
      } else yield chunk(each.index, next.value, null);
    }
  }
  if (usage !== null) yield `data: ${fields},"choices":[],"usage":${JSON.stringify(usage)}}\n\n`;
}

function* deltasOf({ answer }: ChatChoice, tokenizer: Tokenizer): Generator<string> {
  if (answer.text !== null) {
    yield '{"role":"assistant","content":"","refusal":null}';
    for (const piece of tokenizer.pieces(answer.text.tokens)) {
      if (piece !== '') yield `{"content":${JSON.stringify(piece)}}`;
    }
    return;
  }
  yield '{"role":"assistant","content":null,"refusal":null}';
  for (const [index, call] of answer.calls.entries()) yield* callDeltas(index, call, tokenizer);
}

function* callDeltas(index: number, { id, tool, made }: MadeCall, tokenizer: Tokenizer): Generator<string> {
  const custom = tool.kind === 'custom';
  const part = (fields: object): string => JSON.stringify({ tool_calls: [{ index, ...fields }] });
  yield part(
    custom
      ? { id, type: 'custom', custom: { name: tool.name, input: '' } }
      : { id, type: 'function', function: { name: tool.name, arguments: '' } },
  );
  for (const piece of tokenizer.pieces(made.tokens)) {
    if (piece !== '') yield part(custom ? { custom: { input: piece } } : { function: { arguments: piece } });
  }
}
