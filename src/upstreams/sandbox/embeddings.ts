// POST /v1/embeddings: vectors of unit length in which texts that share words, or parts of words, are near.
//
// Feature hashing (Weinberger et al., 2009): each word, and each run of three characters in it, is hashed to a
// place in the vector and a sign, and adds its weight there; the vector is then scaled to length 1. A word weighs
// 1 + log of its count, or a quarter of that if it is one of the little words (the, of, und, que …); its runs weigh
// together as much as it does. So "deploying the server" is near "we deployed our servers" and far from "a walk in
// the forest"; what words mean is unknown to it.

import { z } from 'zod';
import { ApiError } from '../../platform/errors.ts';
import type { Inquiry } from './inquiry.ts';
import { jsonReply, type Reply } from './plan.ts';
import { isLight } from './prose.ts';
import { badRequest, read } from './refusal.ts';
import { hash32 } from './seed.ts';
import type { Setting } from './setting.ts';

const DEFAULT_DIMENSIONS = 1_536;
const MOST_TOKENS = 300_000;
const RUN = 3;

const embeddingRequest = z.looseObject({
  model: z.string(),
  input: z.union([
    z.string(),
    z
      .array(z.union([z.string(), z.int().min(0), z.array(z.int().min(0)).min(1)]))
      .min(1)
      .max(2_048),
  ]),
  dimensions: z.int().min(1).max(3_072).nullish(),
  encoding_format: z.enum(['float', 'base64']).nullish(),
  user: z.string().nullish(),
});

export function embeddings(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(embeddingRequest, inquiry.body);
  const model = inquiry.served;
  const texts = textsOf(request.input, setting);
  let tokens = 0;
  for (const { length } of texts) {
    if (length > model.contextTokens) throw tooLong(model.contextTokens, length);
    tokens += length;
  }
  if (tokens > MOST_TOKENS) {
    throw new ApiError(400, `Requested ${tokens} tokens, max ${MOST_TOKENS} tokens per request`, {
      type: 'max_tokens_per_request',
      code: 'max_tokens_per_request',
    });
  }
  const dimensions = request.dimensions ?? DEFAULT_DIMENSIONS;
  return jsonReply({
    object: 'list',
    data: texts.map(({ text }, index) => {
      const vector = embed(text, dimensions);
      return {
        object: 'embedding',
        index,
        embedding: request.encoding_format === 'base64' ? inBase64(vector) : inDecimals(vector),
      };
    }),
    model: model.id,
    ...(inquiry.script.usage ? { usage: { prompt_tokens: tokens, total_tokens: tokens } } : {}),
  });
}

type Input = z.output<typeof embeddingRequest>['input'];

function textsOf(input: Input, setting: Setting): { text: string; length: number }[] {
  const counted = (text: string, param: string) => {
    if (text === '')
      throw badRequest(`Invalid '${param}': input cannot be an empty string.`, param, 'invalid_value');
    return { text, length: setting.tokenizer.count(text).tokens };
  };
  if (typeof input === 'string') return [counted(input, 'input')];
  const tokens = input.filter((each) => typeof each === 'number');
  if (tokens.length === input.length)
    return [{ text: setting.tokenizer.decode(tokens), length: tokens.length }];
  if (tokens.length > 0)
    throw badRequest("Invalid type for 'input': texts and tokens do not mix.", 'input', 'invalid_type');
  return input.map((each, index) =>
    Array.isArray(each)
      ? { text: setting.tokenizer.decode(each), length: each.length }
      : counted(String(each), `input[${index}]`),
  );
}

function tooLong(context: number, tokens: number): ApiError {
  return badRequest(
    `This model's maximum context length is ${context} tokens, however you requested ${tokens} tokens (${tokens} in your prompt; 0 for the completion). Please reduce your prompt; or completion length.`,
    'input',
    'context_length_exceeded',
  );
}

/** The vector of a text: unit length, `dimensions` long. */
export function embed(text: string, dimensions: number): Float32Array {
  const sums = new Float64Array(dimensions);
  const add = (feature: string, weight: number): void => {
    const hash = hash32(feature);
    // The sign from a second hash, so that features that meet in a place cancel out on average.
    const sign = (hash32(feature, 0x9747b28c) & 1) === 0 ? 1 : -1;
    const at = hash % dimensions;
    sums[at] = (sums[at] ?? 0) + sign * weight;
  };
  for (const [word, count] of countedWords(text)) {
    const weight = (1 + Math.log(count)) * (isLight(word) ? 0.25 : 1);
    add(`w ${word}`, weight);
    const framed = `^${word}$`;
    const runs = framed.length - RUN + 1;
    for (let i = 0; i < runs; i++) add(`r ${framed.slice(i, i + RUN)}`, weight / Math.sqrt(runs));
  }
  let square = 0;
  for (const sum of sums) square += sum * sum;
  // A text without a letter, or whose features cancel out, still has a direction: that of its own hash.
  if (square === 0) {
    sums[hash32(text) % dimensions] = 1;
    square = 1;
  }
  const scale = 1 / Math.sqrt(square);
  return Float32Array.from(sums, (sum) => sum * scale);
}

function countedWords(text: string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [word] of text
    .normalize('NFKC')
    .toLowerCase()
    .matchAll(/[\p{L}\p{M}\p{N}]+/gu)) {
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

function inBase64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  for (const [index, value] of vector.entries()) bytes.writeFloatLE(value, index * 4);
  return bytes.toString('base64');
}

// Nine digits bring every 32-bit float back exactly.
function inDecimals(vector: Float32Array): number[] {
  return Array.from(vector, (value) => Number(value.toPrecision(9)));
}
