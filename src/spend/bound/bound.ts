// The most that a call can use, told from its body before it is made: what a hard budget reserves.
//
// Prompt. A token stands for at least one byte of UTF-8 (byte-level BPE), so a text has at most as many tokens as
// bytes; the names of members are counted too, and are more than what frames messages and tools. Images and audio are
// bounded by what providers publish for the largest. No prompt is longer than the model's window; where the body does
// not hold all of it (an earlier turn, a stored prompt, a file, a tool of the provider's own that reads), the window is
// the bound.
//
// Reply. What the call allows, for each of its choices; where it allows anything, `REPLY_TOKENS` of the configuration
// or the model's own most, whichever is less. Where that is less than the model could write, the call is sent on with
// this bound in it (`replyTokens`), because a bound that the provider does not know would be none.
//
// What no body bounds: how often a provider's own tools run, and what an image takes at settings to come. There the
// usual most is taken; if more is billed, it is counted, and escrow/excess.ts raises the model's bounds.

import type { CallSize } from '../../limits/estimate.ts';
import type { Meter } from '../meter/model.ts';
import type { CallBound } from '../prices/rates.ts';
import type { ModelLimits } from './model-limits.ts';
import { measurePrompt } from './prompt.ts';

type Json = Readonly<Record<string, unknown>>;

/** What is known of a call's body. */
export interface CallBody {
  readonly meter: Meter;
  /** A JSON body, parsed; null: a form, or none. */
  readonly json: Json | null;
  readonly size: CallSize;
  /** Files of a form, and their bytes together. */
  readonly files: number;
  readonly fileBytes: number;
  /** Characters to be spoken. */
  readonly characters: number;
}

/** What a call can use at most, whatever model serves it. */
export interface BodyBound {
  readonly meter: Meter;
  readonly prompt: number;
  /** The body does not hold the whole prompt. */
  readonly open: boolean;
  readonly imageInput: number;
  readonly audioInput: number;
  /** Tokens of one reply as the call allows them; null: it allows any number. */
  readonly reply: number | null;
  readonly choices: number;
  /** The reply may be spoken. */
  readonly speaks: boolean;
  /** A text that the reply is predicted to repeat: what of it is wrong is billed beside the reply. */
  readonly prediction: number;
  readonly images: number;
  readonly audioMs: number;
  readonly characters: number;
  readonly searches: number;
}

/** More than any model writes in one reply: a larger number in a call bounds nothing further. */
const LONGEST_REPLY = 1_000_000;
const MOST_CHOICES = 1_000;
/** Tokens of an image that is made, at most: high quality, 1536 x 1024, is 6,208; the newest make larger ones. */
const IMAGE_MADE = 17_000;
/** Tokens of an image that is edited, at the highest fidelity. */
const IMAGE_EDITED = 8_000;
/** Speech is coded in no fewer bytes than this a second. */
const SPEECH_BYTES_A_SECOND = 1_000;
/** Of speech that is written down, a second is at most so many tokens, heard and written. */
const SPEECH_TOKENS_A_SECOND = 25;
/** Searches of a call that does not bound its tools. */
const SEARCHES = 10;

export function boundOfBody(body: CallBody): BodyBound {
  const { meter, json, size } = body;
  const prompt = measurePrompt(json);
  const hosted = json === null ? 0 : hostedTools(json);
  const audioSeconds = body.meter === 'transcription' ? Math.ceil(body.fileBytes / SPEECH_BYTES_A_SECOND) : 0;
  const files = meter === 'images' ? body.files * IMAGE_EDITED : 0;
  const speech = audioSeconds * SPEECH_TOKENS_A_SECOND;
  return {
    meter,
    // A form's own text fields are short; the estimate's highest is theirs.
    prompt: (json === null ? size.prompt.high + files + speech : prompt.tokens) + FRAME,
    open: prompt.open || hosted > 0,
    imageInput: prompt.image + files,
    audioInput: prompt.audio + speech,
    reply: replyOf(meter, json, size, audioSeconds),
    choices: Math.min(size.choices, MOST_CHOICES),
    speaks: Array.isArray(json?.['modalities']) && json['modalities'].includes('audio'),
    prediction: measurePrompt(object(json?.['prediction'])).tokens,
    images: meter === 'images' ? Math.max(1, Math.min(size.images, MOST_CHOICES)) : 0,
    audioMs: audioSeconds * 1000,
    characters: body.characters,
    searches: hosted === 0 ? 0 : Math.min(whole(json?.['max_tool_calls']) ?? SEARCHES, MOST_CHOICES),
  };
}

/** Tokens around a prompt: what primes the reply, and what begins a list of tools. */
const FRAME = 32;

export interface ModelBound extends CallBound {
  /** The bound of one reply that the call must be sent on with; null: it bounds itself, or the model does. */
  readonly replyTokens: number | null;
}

/** @param allowed tokens of a reply to a call that does not say how long it may be */
export function boundOnModel(body: BodyBound, limits: ModelLimits, allowed: number): ModelBound {
  const { meter } = body;
  const input = body.open ? limits.input : Math.min(body.prompt, limits.input);
  const most = Math.min(limits.output ?? LONGEST_REPLY, LONGEST_REPLY);
  const reply = Math.min(body.reply ?? allowed, most);
  const output = reply * body.choices + body.prediction + body.images * (meter === 'images' ? IMAGE_MADE : 0);
  return {
    input,
    output,
    imageInput: Math.min(body.imageInput, input),
    audioInput: Math.min(body.audioInput, input),
    imageOutput: meter === 'images' ? output : 0,
    audioOutput: body.speaks ? output : 0,
    images: body.images,
    audioMs: body.audioMs,
    characters: body.characters,
    searches: body.searches,
    replyTokens: body.reply === null && (limits.output === null || limits.output > allowed) ? reply : null,
  };
}

/** Null: any number of tokens. */
function replyOf(meter: Meter, json: Json | null, size: CallSize, audioSeconds: number): number | null {
  switch (meter) {
    case 'chat': {
      // Which of the two names a provider goes by is its own affair: the larger one counts.
      const given = [whole(json?.['max_completion_tokens']), whole(json?.['max_tokens'])];
      const bounds = given.filter((each) => each !== null);
      return bounds.length === 0 ? null : Math.max(...bounds);
    }
    case 'responses':
      return whole(json?.['max_output_tokens']);
    case 'completions':
      return size.replyTokens ?? 16;
    case 'transcription':
      return audioSeconds * SPEECH_TOKENS_A_SECOND;
    default:
      return 0;
  }
}

/** Tools that the provider runs itself, whose results the model reads. */
function hostedTools(json: Json): number {
  const tools = json['tools'];
  if (!Array.isArray(tools)) return 0;
  return tools.filter((tool) => {
    const type: unknown = object(tool)?.['type'];
    return type !== 'function' && type !== 'custom';
  }).length;
}

function whole(value: unknown): number | null {
  return typeof value === 'number' && value >= 0 ? Math.min(LONGEST_REPLY, Math.ceil(value)) : null;
}

function object(value: unknown): Json | null {
  return isObject(value) ? value : null;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
