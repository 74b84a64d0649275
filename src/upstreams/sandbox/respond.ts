// What the sandbox answers to one turn of a conversation, whichever endpoint it came by: tool calls, a value that
// fits the asked-for form, or a few sentences.

import { createHash } from 'node:crypto';
import { ApiError } from '../../platform/errors.ts';
import { type Generated, type GenerateLimits, generate } from './generate.ts';
import { excerpt, keywords, reply } from './prose.ts';
import { SchemaFault, validValue } from './schema.ts';
import type { Script } from './script.ts';
import { Seed } from './seed.ts';
import type { Setting } from './setting.ts';
import { chooseTools, inputFor, promptMaterial, type ToolCall, type ToolOffer } from './tools.ts';

/** The turn to answer. */
export interface Turn {
  /** What the user said last. */
  readonly said: string;
  /** What tools have answered since. */
  readonly results: readonly string[];
  /** A digest of the whole conversation: replies to different ones differ. */
  readonly all: string;
}

/** The form that the text must have. */
export type Form =
  | { readonly kind: 'text' }
  | { readonly kind: 'json' }
  | { readonly kind: 'schema'; readonly schema: unknown; readonly refuse: (why: string) => ApiError };

export interface Ask {
  readonly model: string;
  readonly turn: Turn;
  readonly offer: ToolOffer;
  readonly form: Form;
  readonly script: Script;
  readonly limits: GenerateLimits;
  /** Which of several answers to the same prompt. */
  readonly index: number;
}

export interface Answered {
  readonly calls: readonly MadeCall[];
  /** Null where tools are called instead. */
  readonly text: Generated | null;
  /** All tokens made; the reasoning is not among them. */
  readonly tokens: number;
}

export interface MadeCall extends ToolCall {
  readonly id: string;
  readonly made: Generated;
}

// A call's name and what frames it, in tokens beside its input.
const PER_CALL = 3;

/** Stands for a conversation of any length. */
export function digest(conversation: unknown): string {
  return createHash('sha256').update(JSON.stringify(conversation)).digest('base64');
}

export function respond(ask: Ask, setting: Setting): Answered {
  const seed = `${ask.model} ${ask.index} ${ask.turn.all}`;
  const tools = chooseTools(ask.offer, ask.turn.said, ask.turn.results.length > 0);
  if (tools.length > 0) return call(tools, ask, setting, seed);
  const text = generate(textFor(ask, seed), ask.limits, setting.tokenizer);
  return { calls: [], text, tokens: text.tokens.length };
}

function call(tools: ReturnType<typeof chooseTools>, ask: Ask, setting: Setting, seed: string): Answered {
  const { most } = ask.limits;
  let used = 0;
  const calls: MadeCall[] = [];
  for (const tool of tools) {
    const input = inputOrRefusal(tool, ask, seed);
    const limits = { stop: [], most: Math.max(0, most - used), exactly: null };
    const made = generate(input, limits, setting.tokenizer);
    used += made.tokens.length + PER_CALL + setting.tokenizer.count(tool.name).tokens;
    calls.push({ tool, input: made.text, id: setting.newId('call_', 24), made });
  }
  return { calls, text: null, tokens: Math.min(most, used) };
}

function inputOrRefusal(tool: ToolCall['tool'], ask: Ask, seed: string): string {
  try {
    return inputFor(tool, ask.turn.said, seed);
  } catch (error) {
    if (!(error instanceof SchemaFault)) throw error;
    throw new ApiError(400, `Invalid schema for function '${tool.name}': ${error.message}`, {
      code: 'invalid_function_parameters',
      param: tool.place,
    });
  }
}

function textFor(ask: Ask, seed: string): string {
  const { said, results } = ask.turn;
  if (ask.form.kind === 'json') {
    const answer = reply(said, results, ask.model, new Seed(seed));
    return JSON.stringify({ answer: excerpt(answer), keywords: keywords(said), sandbox: true });
  }
  if (ask.form.kind === 'schema') {
    try {
      return JSON.stringify(validValue(ask.form.schema, promptMaterial(said), seed));
    } catch (error) {
      if (!(error instanceof SchemaFault)) throw error;
      throw ask.form.refuse(error.message);
    }
  }
  return ask.script.echo
    ? said.toWellFormed()
    : reply(said.toWellFormed(), results, ask.model, new Seed(seed));
}
