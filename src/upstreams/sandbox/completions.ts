// POST /v1/completions, the legacy one: text in, text out, no roles.

import { z } from 'zod';
import { effort, stop, temperature, topP } from './chat-request.ts';
import { checkContext, checkOutput, checkTotal, type Generated } from './generate.ts';
import type { Inquiry } from './inquiry.ts';
import { jsonReply, type Reply, SERVER_ERROR } from './plan.ts';
import { badRequest, read } from './refusal.ts';
import { digest, respond } from './respond.ts';
import type { Setting } from './setting.ts';
import { NO_TOOLS } from './tools.ts';

const DEFAULT_TOKENS = 16;
const MOST_CHOICES = 2_048;

const tokens = z.array(z.int().min(0)).min(1);
const completionRequest = z.looseObject({
  model: z.string(),
  prompt: z
    .union([
      z.string(),
      z
        .array(z.union([z.string(), z.int().min(0), tokens]))
        .min(1)
        .max(2_048),
    ])
    .nullish(),
  suffix: z.string().nullish(),
  max_tokens: z.int().min(0).nullish(),
  temperature,
  top_p: topP,
  n: z.int().min(1).max(128).nullish(),
  best_of: z.int().min(1).max(128).nullish(),
  echo: z.boolean().nullish(),
  stop,
  stream: z.boolean().nullish(),
  stream_options: z.looseObject({ include_usage: z.boolean().nullish() }).nullish(),
  logprobs: z.int().min(0).max(5).nullish(),
  reasoning_effort: effort,
});

interface Choice {
  readonly prefix: string;
  readonly made: Generated;
}

export function completions(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(completionRequest, inquiry.body);
  const { script, served: model } = inquiry;
  const n = request.n ?? 1;
  if (request.best_of != null && request.best_of < n) {
    throw badRequest(
      `You requested that the server return more choices than it will generate (HINT: best_of must be >= n, but best_of=${request.best_of} and n=${n}.)`,
      'best_of',
      null,
    );
  }
  const limit = request.max_tokens ?? (script.tokens === null ? DEFAULT_TOKENS : null);
  if (inquiry.own) checkOutput(request.max_tokens ?? null, model.maxOutputTokens, 'max_tokens');
  const choices: Choice[] = [];
  let prompt = 0;
  const prompts = promptsOf(request.prompt ?? '', setting);
  if (prompts.length * n > MOST_CHOICES) {
    throw badRequest(
      `The sandbox makes at most ${MOST_CHOICES} choices a call: send fewer prompts.`,
      'prompt',
      null,
    );
  }
  for (const text of prompts) {
    const length = setting.tokenizer.count(text).tokens;
    checkContext(length, Math.min(limit ?? 0, model.maxOutputTokens), model.contextTokens, 'prompt');
    prompt += length;
    for (let index = 0; index < n; index++) {
      const limits = {
        stop: request.stop == null ? [] : [request.stop].flat(),
        most: limit ?? Number.POSITIVE_INFINITY,
        exactly: script.tokens,
      };
      const turn = { said: text, results: [], all: digest(text) };
      const ask = {
        model: model.id,
        turn,
        offer: NO_TOOLS,
        form: { kind: 'text' } as const,
        script,
        limits,
        index,
      };
      const made = respond(ask, setting).text;
      if (made !== null) choices.push({ prefix: request.echo === true ? text : '', made });
      checkTotal(choices.reduce((sum, each) => sum + each.made.tokens.length, 0));
    }
  }
  const completion = choices.reduce((sum, { made }) => sum + made.tokens.length, 0);
  const usage = { prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion };
  const head = {
    id: setting.newId('cmpl-', 29),
    object: 'text_completion',
    created: Math.floor(setting.now() / 1000),
    model: model.id,
    system_fingerprint: 'fp_sandbox',
  };
  if (request.stream === true) {
    const asked = request.stream_options?.include_usage === true && script.usage;
    return {
      kind: 'stream',
      events: chunks(head, choices, asked ? usage : null, setting),
      count: completion + choices.length,
      end: 'data: [DONE]\n\n',
      errorEvent: `data: ${JSON.stringify({ error: SERVER_ERROR })}\n\n`,
    };
  }
  return jsonReply({
    ...head,
    choices: choices.map(({ prefix, made }, index) => ({
      text: prefix + made.text,
      index,
      logprobs: null,
      finish_reason: made.end,
    })),
    ...(script.usage ? { usage } : {}),
  });
}

function promptsOf(prompt: string | readonly (string | number | number[])[], setting: Setting): string[] {
  if (typeof prompt === 'string') return [prompt];
  const tokens = prompt.filter((each) => typeof each === 'number');
  if (tokens.length === prompt.length) return [setting.tokenizer.decode(tokens)];
  if (tokens.length > 0)
    throw badRequest("Invalid type for 'prompt': texts and tokens do not mix.", 'prompt', 'invalid_type');
  return prompt.map((each) => (Array.isArray(each) ? setting.tokenizer.decode(each) : String(each)));
}

function* chunks(
  head: object,
  choices: readonly Choice[],
  usage: object | null,
  setting: Setting,
): Generator<string> {
  const chunk = (given: readonly object[], used: object | null): string =>
    `data: ${JSON.stringify({ ...head, choices: given, ...(usage === null ? {} : { usage: used }) })}\n\n`;
  for (const [index, { prefix, made }] of choices.entries()) {
    const choice = (text: string, finish: string | null) => ({
      text,
      index,
      logprobs: null,
      finish_reason: finish,
    });
    if (prefix !== '') yield chunk([choice(prefix, null)], null);
    for (const piece of setting.tokenizer.pieces(made.tokens)) {
      if (piece !== '') yield chunk([choice(piece, null)], null);
    }
    yield chunk([choice('', made.end)], null);
  }
  if (usage !== null) yield chunk([], usage);
}
