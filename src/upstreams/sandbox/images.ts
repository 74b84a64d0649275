// POST /v1/images/generations: a real PNG of the asked-for size whose pattern follows from the prompt.

import { z } from 'zod';
import type { Inquiry } from './inquiry.ts';
import { jsonReply, type Reply, SERVER_ERROR } from './plan.ts';
import { patternPng } from './png.ts';
import { badRequest, read } from './refusal.ts';
import type { Setting } from './setting.ts';

const LEAST_SIDE = 64;
const MOST_SIDE = 2_048;

const imageRequest = z.looseObject({
  model: z.string().nullish(),
  prompt: z.string().min(1).max(32_000),
  n: z.int().min(1).max(10).nullish(),
  size: z.string().nullish(),
  quality: z.enum(['auto', 'low', 'medium', 'high', 'standard', 'hd']).nullish(),
  background: z.enum(['auto', 'transparent', 'opaque']).nullish(),
  output_format: z.enum(['png', 'jpeg', 'webp']).nullish(),
  response_format: z.enum(['b64_json', 'url']).nullish(),
  stream: z.boolean().nullish(),
  partial_images: z.int().min(0).max(3).nullish(),
});

// Output tokens of a square of 1024 pixels, by quality (OpenAI's guide "Image generation", Cost and latency).
const SQUARE_TOKENS = { low: 272, medium: 1_056, high: 4_160 } as const;
const SQUARE_AREA = 1_024 * 1_024;

export function images(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(imageRequest, inquiry.body);
  if (request.output_format != null && request.output_format !== 'png') {
    throw badRequest(
      'The sandbox makes PNG only: leave out output_format.',
      'output_format',
      'unsupported_value',
    );
  }
  const { width, height } = sizeOf(request.size ?? 'auto');
  const quality = qualityOf(request.quality ?? 'auto');
  const n = request.n ?? 1;
  const made = Array.from({ length: n }, (_, index) =>
    patternPng(`${index} ${request.prompt}`, width, height).toString('base64'),
  );
  const text = setting.tokenizer.count(request.prompt).tokens;
  const output = n * Math.round((SQUARE_TOKENS[quality] * width * height) / SQUARE_AREA);
  const usage = {
    input_tokens: text,
    input_tokens_details: { text_tokens: text, image_tokens: 0 },
    output_tokens: output,
    output_tokens_details: { text_tokens: 0, image_tokens: output },
    total_tokens: text + output,
  };
  const head = {
    created: Math.floor(setting.now() / 1000),
    background: 'opaque',
    output_format: 'png',
    quality,
    size: `${width}x${height}`,
  };
  const used = inquiry.script.usage ? { usage } : {};
  if (request.stream === true) return stream(head, made, request.partial_images ?? 0, used);
  const shown = (image: string) =>
    request.response_format === 'url' ? { url: `data:image/png;base64,${image}` } : { b64_json: image };
  return jsonReply({ ...head, data: made.map(shown), ...used });
}

function stream(head: { created: number }, made: readonly string[], partials: number, used: object): Reply {
  const { created, ...told } = head;
  const events: string[] = [];
  const push = (type: string, fields: object): void => {
    events.push(
      `event: ${type}\ndata: ${JSON.stringify({ type, created_at: created, ...told, ...fields })}\n\n`,
    );
  };
  for (const image of made) {
    for (let index = 0; index < partials; index++) {
      push('image_generation.partial_image', { b64_json: image, partial_image_index: index });
    }
    push('image_generation.completed', { b64_json: image, ...used });
  }
  const failure = { type: 'error', error: SERVER_ERROR };
  return {
    kind: 'stream',
    events,
    count: events.length,
    end: '',
    errorEvent: `event: error\ndata: ${JSON.stringify(failure)}\n\n`,
  };
}

function sizeOf(size: string): { width: number; height: number } {
  if (size === 'auto') return { width: 1_024, height: 1_024 };
  const [, width, height] = /^(\d{2,4})x(\d{2,4})$/.exec(size) ?? [];
  const sides = { width: Number(width), height: Number(height) };
  const fits = (side: number): boolean => side >= LEAST_SIDE && side <= MOST_SIDE;
  if (fits(sides.width) && fits(sides.height)) return sides;
  throw badRequest(
    `Invalid value: '${size.slice(0, 40)}'. Supported values are: 'auto', and <width>x<height> of ${LEAST_SIDE} to ${MOST_SIDE} pixels each.`,
    'size',
    'invalid_value',
  );
}

function qualityOf(
  quality: NonNullable<z.output<typeof imageRequest>['quality']>,
): keyof typeof SQUARE_TOKENS {
  if (quality === 'hd') return 'high';
  return quality === 'auto' || quality === 'standard' ? 'medium' : quality;
}
