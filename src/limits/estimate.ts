// How much a call will draw on its limits, guessed from its body before it is made. Cheap and bounded: the length of
// each text is known, at most 4,096 characters of all texts are looked at, at most 20,000 values are visited. Nothing
// is tokenized here; where the guess is too near a bound to decide, the caller's exact count is asked (rate-limits.ts).
//
// Prompt. The platform admits by "an estimate from the character count". Ours: a token for each four characters of
// ASCII, 0.4 for each unit of other alphabets, 0.75 for each from CJK on, 4 for each message or item around them, 765
// for an image (85 in low detail), 10 for a second of audio; what the provider holds itself counts nothing.
// `low` is prose of long words; `high` is a token for each byte, which byte-level BPE cannot pass.
//
// Charge. The platform says max(max_tokens, estimate). Its cookbook's client, and every budget, use the sum. We reserve
// the sum: it is an upper bound of what the reply can bring, so that concurrent calls cannot overdraw a limit together,
// and what is not used goes back the moment the call ends. A table with `charge: larger` does as the platform does.

import type { Meter } from '../spend/meter/model.ts';
import type { TokenEstimate } from './model.ts';
import type { LimitTables } from './tables.ts';

export interface CallSize {
  readonly prompt: TokenEstimate;
  /** The most tokens of one reply, as the call states it; null when it states none. */
  readonly replyTokens: number | null;
  /** Replies asked for (`n`, `best_of`, prompts in one call). */
  readonly choices: number;
  readonly images: number;
  readonly audioSeconds: number;
}

const IMAGE_LOW = 85;
const IMAGE = 765;
const AUDIO_TOKENS_A_SECOND = 10;
const AUDIO_BYTES_A_SECOND = 16_000;
const PER_ITEM = 4;
const SAMPLE = 64;
const SAMPLED_MOST = 4_096;
const VISITED_MOST = 20_000;
const MOST = 1_000_000_000_000;

const NOTHING: TokenEstimate = Object.freeze({ low: 0, likely: 0, high: 0 });
export const NO_SIZE: CallSize = Object.freeze({
  prompt: NOTHING,
  replyTokens: 0,
  choices: 1,
  images: 0,
  audioSeconds: 0,
});

/** The size of a call from its parsed JSON body. */
export function sizeOfJson(meter: Meter, body: unknown): CallSize {
  const sizing = new Sizing();
  for (const name of PROMPT_FIELDS[meter]) sizing.value(field(body, name), name, 0);
  const prompt = sizing.estimate();
  const n = Math.max(1, whole(field(body, 'n')) ?? 1);
  switch (meter) {
    case 'chat':
      return {
        prompt,
        replyTokens: whole(field(body, 'max_completion_tokens')) ?? whole(field(body, 'max_tokens')),
        choices: n,
        images: 0,
        audioSeconds: 0,
      };
    case 'completions': {
      const prompts = field(body, 'prompt');
      const many = Array.isArray(prompts) && typeof prompts[0] !== 'number' ? Math.max(1, prompts.length) : 1;
      const best = Math.max(n, whole(field(body, 'best_of')) ?? 1);
      // The published default of this endpoint's max_tokens is 16.
      return {
        prompt,
        replyTokens: whole(field(body, 'max_tokens')) ?? 16,
        choices: best * many,
        images: 0,
        audioSeconds: 0,
      };
    }
    case 'responses':
      return {
        prompt,
        replyTokens: whole(field(body, 'max_output_tokens')),
        choices: 1,
        images: 0,
        audioSeconds: 0,
      };
    case 'images':
      return { prompt, replyTokens: 0, choices: 1, images: n, audioSeconds: 0 };
    default:
      return { prompt, replyTokens: 0, choices: 1, images: 0, audioSeconds: 0 };
  }
}

/** The size of a call from a form: its text fields, and the bytes of its files together. */
export function sizeOfForm(meter: Meter, fields: ReadonlyMap<string, string>, fileBytes: number): CallSize {
  const sizing = new Sizing();
  sizing.text(fields.get('prompt') ?? '');
  const n = Math.max(1, whole(Number(fields.get('n') ?? 1)) ?? 1);
  const prompt = sizing.estimate();
  if (meter === 'images') return { prompt, replyTokens: 0, choices: 1, images: n, audioSeconds: 0 };
  if (meter === 'transcription') {
    return {
      prompt,
      replyTokens: 0,
      choices: 1,
      images: 0,
      audioSeconds: Math.ceil(fileBytes / AUDIO_BYTES_A_SECOND),
    };
  }
  return { prompt, replyTokens: 0, choices: 1, images: 0, audioSeconds: 0 };
}

/** Tokens to reserve for a prompt of `prompt` tokens and a reply of at most `reply`. */
export function charged(tables: LimitTables, prompt: number, reply: number): number {
  return Math.min(MOST, tables.charge === 'larger' ? Math.max(prompt, reply) : prompt + reply);
}

/** Where the members of a body lie that the model reads. */
const PROMPT_FIELDS: Readonly<Record<Meter, readonly string[]>> = {
  chat: ['messages', 'system', 'tools', 'functions', 'response_format'],
  completions: ['prompt', 'suffix'],
  responses: ['instructions', 'input', 'tools', 'text'],
  embeddings: ['input'],
  moderations: ['input'],
  images: ['prompt'],
  speech: ['input', 'instructions'],
  transcription: [],
  none: [],
};

class Sizing {
  private ascii = 0;
  /** UTF-16 units of other alphabets, and from U+2E80 on. */
  private letters = 0;
  private wide = 0;
  private fixed = 0;
  private sampled = 0;
  private sampledLetters = 0;
  private sampledWide = 0;
  private visited = 0;

  estimate(): TokenEstimate {
    const { ascii, letters, wide, fixed } = this;
    return {
      low: Math.floor(Math.min(MOST, fixed / 2 + (ascii + letters) / 8 + wide / 4)),
      likely: Math.ceil(Math.min(MOST, fixed + ascii / 4 + letters * 0.4 + wide * 0.75)),
      high: Math.ceil(Math.min(MOST, fixed * 2 + ascii + (letters + wide) * 3)),
    };
  }

  value(value: unknown, name: string, depth: number): void {
    if (++this.visited > VISITED_MOST || depth > 64) return;
    if (typeof value === 'string') return this.member(name, value);
    if (typeof value === 'number' || typeof value === 'boolean') {
      this.fixed += 1;
      return;
    }
    if (Array.isArray(value)) {
      // A list of token numbers is counted by its length.
      if (typeof value[0] === 'number') this.fixed += value.length;
      else for (const each of value) this.value(each, name, depth + 1);
      return;
    }
    if (typeof value !== 'object' || value === null) return;
    const type = field(value, 'type');
    if (type === 'image_url' || type === 'input_image' || type === 'image') {
      const detail = field(value, 'detail') ?? field(field(value, 'image_url'), 'detail');
      this.fixed += detail === 'low' ? IMAGE_LOW : IMAGE;
      return;
    }
    this.fixed += PER_ITEM;
    for (const key in value) {
      if (key === 'type' || key === 'role' || key === 'id') continue;
      this.value(Reflect.get(value, key), key, depth + 1);
    }
  }

  text(text: string): void {
    const { length } = text;
    if (length === 0) return;
    // Texts beyond the sample are taken to be like those before them.
    let [looks, letters, wide] = [this.sampled, this.sampledLetters, this.sampledWide];
    if (this.sampled < SAMPLED_MOST) {
      looks = Math.min(length, SAMPLE);
      letters = 0;
      wide = 0;
      for (let i = 0; i < looks; i++) {
        const unit = text.charCodeAt(Math.floor((i * length) / looks));
        if (unit >= 0x2e80) wide++;
        else if (unit > 0x7f) letters++;
      }
      this.sampled += looks;
      this.sampledLetters += letters;
      this.sampledWide += wide;
    }
    this.letters += (length * letters) / looks;
    this.wide += (length * wide) / looks;
    this.ascii += (length * (looks - letters - wide)) / looks;
  }

  /** Contents in base64 are not text; what they cost is known by their size. */
  private member(name: string, text: string): void {
    if (name === 'file_data') this.fixed += Math.ceil(text.length * 0.75 * 0.25);
    else if (name === 'data')
      this.fixed += Math.ceil(((text.length * 0.75) / AUDIO_BYTES_A_SECOND) * AUDIO_TOKENS_A_SECOND);
    else this.text(text);
  }
}

/** A count out of a body: whole and bounded; null when it is no such number. */
function whole(value: unknown): number | null {
  return typeof value === 'number' && value >= 0 ? Math.min(MOST, Math.ceil(value)) : null;
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}
