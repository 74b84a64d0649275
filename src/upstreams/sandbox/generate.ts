// Turns what the sandbox has to say into tokens, as a model would make them: up to a stop sequence, up to a limit.

import { ApiError } from '../../platform/errors.ts';
import type { Tokenizer } from '../../spend/count-text.ts';
import type { Script } from './script.ts';

export interface Generated {
  readonly text: string;
  /** What was made, token by token; joined, their pieces are `text`. */
  readonly tokens: readonly number[];
  /** Why it ended: by itself or at a stop sequence, or because there was no room for more. */
  readonly end: 'stop' | 'length';
}

export interface GenerateLimits {
  readonly stop: readonly string[];
  /** Room for this text, in tokens. */
  readonly most: number;
  /** The exact length to make, in tokens, whatever there is to say; null for as long as the text is. */
  readonly exactly: number | null;
}

export function generate(text: string, limits: GenerateLimits, tokenizer: Tokenizer): Generated {
  const whole = limits.exactly === null ? text : stretch(text, limits.exactly, tokenizer);
  const kept = beforeStop(whole, limits.stop);
  const made =
    limits.exactly === null || kept !== whole
      ? tokenizer.encode(kept)
      : stretchTokens(text, limits.exactly, tokenizer);
  if (made.length <= limits.most) return { text: kept, tokens: made, end: 'stop' };
  const tokens = made.slice(0, limits.most);
  return { text: tokenizer.decode(tokens), tokens, end: 'length' };
}

function stretch(text: string, tokens: number, tokenizer: Tokenizer): string {
  return tokenizer.decode(stretchTokens(text, tokens, tokenizer));
}

// The same paragraph over and over: encoding it once is enough.
function stretchTokens(text: string, length: number, tokenizer: Tokenizer): number[] {
  const first = tokenizer.encode(text);
  const again = tokenizer.encode(`\n\n${text}`);
  const tokens = first.slice(0, length);
  while (tokens.length < length) {
    const wanted = length - tokens.length;
    for (const token of wanted < again.length ? again.slice(0, wanted) : again) tokens.push(token);
  }
  return tokens;
}

function beforeStop(text: string, stop: readonly string[]): string {
  let end = text.length;
  for (const sequence of stop) {
    const at = sequence === '' ? -1 : text.indexOf(sequence);
    if (at >= 0 && at < end) end = at;
  }
  return end === text.length ? text : text.slice(0, end);
}

/** The reasoning tokens that an effort is said to take; none where no effort is asked for. */
export function reasoningTokens(effort: string | null | undefined, scripted: number | null): number {
  if (scripted !== null) return scripted;
  switch (effort) {
    case 'minimal':
      return 16;
    case 'low':
      return 64;
    case 'medium':
      return 256;
    case 'high':
      return 1_024;
    case 'xhigh':
    case 'max':
      return 4_096;
    default:
      return 0;
  }
}

/** Of the prompt, what is said to be read from the provider's cache and written to it: never more than it has. */
export interface Caches {
  readonly read: number;
  readonly write: number;
}

export function cachesOf(prompt: number, script: Script): Caches {
  const read = Math.min(script.cached ?? 0, prompt);
  return { read, write: Math.min(script.cacheWrite ?? 0, prompt - read) };
}

/** @throws {ApiError} 400 `context_length_exceeded`, in the words of chat and legacy completions */
export function checkContext(
  prompt: number,
  completion: number,
  context: number,
  param: 'messages' | 'prompt',
): void {
  if (prompt + completion <= context) return;
  const where = param === 'messages' ? 'messages' : 'prompt';
  const message =
    prompt > context
      ? `This model's maximum context length is ${context} tokens. However, your ${where} resulted in ${prompt} tokens. Please reduce the length of the ${where}.`
      : `This model's maximum context length is ${context} tokens. However, you requested ${prompt + completion} tokens (${prompt} in the ${where}, ${completion} in the completion). Please reduce the length of the ${where} or completion.`;
  throw new ApiError(400, message, { code: 'context_length_exceeded', param });
}

/**
 * A client that asks for more than the model gives is told so before it waits.
 *
 * @throws {ApiError} 400
 */
export function checkOutput(asked: number | null, most: number, param: string): void {
  if (asked === null || asked <= most) return;
  throw new ApiError(
    400,
    `${param} is too large: ${asked}. This model supports at most ${most} completion tokens, whereas you provided ${asked}.`,
    { code: 'invalid_value', param },
  );
}

const MOST_TOKENS = 2_000_000;

/**
 * What one call may make in all its choices, which its memory must hold.
 *
 * @throws {ApiError} 400
 */
export function checkTotal(tokens: number): void {
  if (tokens <= MOST_TOKENS) return;
  throw new ApiError(400, `The sandbox makes at most ${MOST_TOKENS} tokens a call: ask for fewer choices.`, {
    param: 'n',
  });
}
