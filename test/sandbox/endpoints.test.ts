import { Buffer } from 'node:buffer';
import { inflateSync } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { answer } from '../../src/upstreams/sandbox/answer.ts';
import { embed } from '../../src/upstreams/sandbox/embeddings.ts';
import type { Form } from '../../src/upstreams/sandbox/inquiry.ts';
import { patternPng } from '../../src/upstreams/sandbox/png.ts';
import { readWav } from '../../src/upstreams/sandbox/wav.ts';
import { ask, events, NOW, planOf, setting, told } from './ask.ts';

const dot = (a: ArrayLike<number>, b: ArrayLike<number>) =>
  Array.from(a).reduce((sum, x, i) => sum + x * (b[i] ?? 0), 0);
const vector = (text: string) => embed(text, 1_536);

describe('embeddings', () => {
  test('come in order, 1536 long, with the tokens of their inputs', () => {
    const { json } = ask('embeddings', { model: 'text-embedding-3-small', input: ['hello world', 'hi'] });
    expect(json).toMatchObject({
      object: 'list',
      model: 'sandbox-embed',
      data: [{ object: 'embedding', index: 0 }, { index: 1 }],
      usage: { prompt_tokens: 3, total_tokens: 3 },
    });
    expect(json.data[0].embedding).toHaveLength(1_536);
  });

  test('base64 is the same vector in 32-bit little-endian floats', () => {
    const body = { model: 'x', input: 'hello world', dimensions: 64 };
    const decimals = ask('embeddings', body).json.data[0].embedding;
    const bytes = Buffer.from(
      ask('embeddings', { ...body, encoding_format: 'base64' }).json.data[0].embedding,
      'base64',
    );
    const floats = Array.from({ length: 64 }, (_, i) => bytes.readFloatLE(i * 4));
    expect(floats).toEqual(decimals.map(Math.fround));
  });

  test('tokens give the vector of their text', () => {
    const { tokenizer } = setting();
    const data = (input: unknown) => ask('embeddings', { model: 'x', input }).json.data[0].embedding;
    expect(data(tokenizer.encode('hello world'))).toEqual(data('hello world'));
    expect(data([tokenizer.encode('hello world')])).toEqual(data('hello world'));
  });

  test('are of unit length for any text and any number of dimensions', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme' }), fc.integer({ min: 1, max: 3_072 }), (text, dimensions) => {
        const made = embed(text, dimensions);
        expect(made).toHaveLength(dimensions);
        expect(dot(made, made)).toBeCloseTo(1, 5);
      }),
    );
  });

  test.each([
    ['the cat sat on the mat', 'a cat is sitting on a mat', 'quarterly revenue of the bank'],
    ['how do I reset my password', 'password reset does not work', 'recipes for lemon cake'],
    ['deploying the server', 'we deployed our servers', 'a walk in the forest'],
  ])('“%s” is nearer to “%s” than to “%s”', (text, near, far) => {
    expect(dot(vector(text), vector(near))).toBeGreaterThan(dot(vector(text), vector(far)) + 0.1);
    expect(dot(vector(text), vector(text.toUpperCase()))).toBeCloseTo(1, 5);
  });

  test.each([
    ['no input', { input: undefined }, 'input', 'missing_required_parameter'],
    ['an empty text', { input: ['a', ''] }, 'input[1]', 'invalid_value'],
    ['no texts', { input: [] }, 'input', 'empty_array'],
    ['texts and tokens', { input: ['a', 1] }, 'input', 'invalid_type'],
    ['too many dimensions', { dimensions: 5_000 }, 'dimensions', 'integer_above_max_value'],
    ['an unknown encoding', { encoding_format: 'hex' }, 'encoding_format', 'invalid_value'],
    ['too long a text', { input: 'one two three '.repeat(3_000) }, 'input', 'context_length_exceeded'],
  ])('%s is refused', (_, change, param, code) => {
    const { status, json } = ask('embeddings', { model: 'sandbox-embed', input: 'x', ...change });
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ param, code });
  });
});

describe('legacy completions', () => {
  const body = { model: 'davinci-002', prompt: 'Say this is a test' };

  test('are 16 tokens long unless asked otherwise', () => {
    const { json } = ask('completions', body);
    expect(json).toMatchObject({
      object: 'text_completion',
      model: 'sandbox-large',
      choices: [{ index: 0, finish_reason: 'length', logprobs: null, text: expect.any(String) }],
      usage: { prompt_tokens: 5, completion_tokens: 16, total_tokens: 21 },
    });
    expect(ask('completions', { ...body, max_tokens: 500 }).json.choices[0].finish_reason).toBe('stop');
  });

  test('several prompts have n choices each, echoed if asked', () => {
    const { choices } = ask('completions', { ...body, prompt: ['one two', 'three'], n: 2, echo: true }).json;
    expect(choices).toHaveLength(4);
    expect(choices[0].text.startsWith('one two')).toBe(true);
    expect(choices[3].text.startsWith('three')).toBe(true);
  });

  test('stream to the plain text', () => {
    const plain = ask('completions', { ...body, max_tokens: 40 }).json;
    const all = events(
      ask('completions', { ...body, max_tokens: 40, stream: true, stream_options: { include_usage: true } })
        .text,
    );
    expect(all.at(-1)?.data).toBe('[DONE]');
    expect(all.at(-2)?.data.usage).toEqual(plain.usage);
    const pieces = all.slice(0, -2).map((event) => event.data.choices[0].text);
    expect(pieces.join('')).toBe(plain.choices[0].text);
  });

  test('tokens are a prompt too', () => {
    const tokens = setting().tokenizer.encode(body.prompt);
    const text = (prompt: unknown) => ask('completions', { ...body, prompt }).json.choices[0].text;
    expect(text(tokens)).toBe(text(body.prompt));
    expect(ask('completions', { ...body, best_of: 1, n: 2 }).json.error.param).toBe('best_of');
  });
});

describe('moderations', () => {
  test('flag plain words and no others, one result a text, under the sandbox’s name', () => {
    const { json } = ask('moderations', { input: ['I will kill you', 'good morning'] });
    expect(json).toMatchObject({ id: expect.stringMatching(/^modr-/), model: 'sandbox-moderation' });
    expect(json.results).toHaveLength(2);
    expect(json.results[0]).toMatchObject({ flagged: true, categories: { violence: true, hate: false } });
    expect(json.results[0].category_scores.violence).toBeGreaterThan(0.5);
    expect(json.results[1].flagged).toBe(false);
    expect(Object.keys(json.results[0].categories)).toHaveLength(13);
  });

  test('parts are one input', () => {
    const input = [
      { type: 'text', text: 'hello' },
      { type: 'image_url', image_url: { url: 'https://example.com/a.png' } },
    ];
    const { results } = ask('moderations', { input }).json;
    expect(results).toHaveLength(1);
    expect(results[0].category_applied_input_types).toMatchObject({
      violence: ['text', 'image'],
      hate: ['text'],
    });
  });
});

describe('images', () => {
  test('are real PNGs of the asked-for size, the same for the same prompt', () => {
    const { json } = ask('images/generations', {
      model: 'gpt-image-1',
      prompt: 'a cat',
      n: 2,
      size: '1024x1536',
      quality: 'low',
    });
    expect(json).toMatchObject({
      created: NOW / 1000,
      output_format: 'png',
      size: '1024x1536',
      quality: 'low',
    });
    expect(json.data).toHaveLength(2);
    expect(json.data[0].b64_json).not.toBe(json.data[1].b64_json);
    const png = Buffer.from(json.data[0].b64_json, 'base64');
    expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1_024, 1_536]);
    expect(json.usage).toMatchObject({ input_tokens: 2, output_tokens: 2 * 408, total_tokens: 2 + 2 * 408 });
    expect(ask('images/generations', { prompt: 'a cat', response_format: 'url' }).json.data[0].url).toMatch(
      /^data:image\/png;base64,/,
    );
  });

  test.each([
    [64, 64],
    [65, 67],
    [1_024, 1_024],
  ])('a PNG of %i by %i has every chunk whole and every pixel', (width, height) => {
    const png = patternPng('prompt', width, height);
    const chunks: string[] = [];
    const data: Buffer[] = [];
    for (let at = 8; at < png.length; ) {
      const length = png.readUInt32BE(at);
      const type = png.toString('latin1', at + 4, at + 8);
      chunks.push(type);
      if (type === 'IDAT') data.push(png.subarray(at + 8, at + 8 + length));
      at += 12 + length;
    }
    expect(chunks).toEqual(['IHDR', 'PLTE', 'IDAT', 'IEND']);
    expect(inflateSync(Buffer.concat(data))).toHaveLength((Math.ceil(width / 4) + 1) * height);
    expect(png.length).toBeLessThan(5_000);
  });

  test('can be streamed, with partial ones', () => {
    const all = events(ask('images/generations', { prompt: 'a cat', stream: true, partial_images: 2 }).text);
    expect(all.map((event) => event.name)).toEqual([
      'image_generation.partial_image',
      'image_generation.partial_image',
      'image_generation.completed',
    ]);
    expect(all.at(-1)?.data.usage.output_tokens).toBe(1_056);
  });

  test('what is no PNG, or no size, is refused', () => {
    expect(ask('images/generations', { prompt: 'x', output_format: 'webp' }).json.error.param).toBe(
      'output_format',
    );
    expect(ask('images/generations', { prompt: 'x', size: '9x9' }).json.error.param).toBe('size');
    expect(ask('images/generations', {}).json.error.param).toBe('prompt');
  });
});

describe('audio', () => {
  const body = { model: 'tts-1', input: 'the quick brown fox', voice: 'alloy' };
  const bytesOf = (steps: Iterable<{ do: string }>) =>
    Buffer.concat(
      [...steps].flatMap((step) => ('data' in step && step.data instanceof Uint8Array ? [step.data] : [])),
    );
  const form = (bytes: Uint8Array, fields: Record<string, string> = {}): Form => ({
    fields: new Map(
      Object.entries({ model: 'whisper-1', ...fields }).map(([name, value]) => [name, [value]]),
    ),
    file: { field: 'file', name: 'speech.wav', bytes },
  });
  const transcribe = (given: Form, task = 'transcriptions') =>
    told(
      answer(
        { method: 'POST', path: `/v1/audio/${task}`, script: '', body: new Uint8Array(), form: given },
        setting(),
      ),
    );

  test('speech is a WAV that says how long it is, and transcribes back to its text', () => {
    const plan = planOf('audio/speech', body);
    expect(plan.headers).toMatchObject({ 'content-type': 'audio/wav', 'x-sandbox-model': 'sandbox-audio' });
    const wav = bytesOf(plan.steps);
    expect(readWav(wav)).toEqual({ seconds: 1.2, comment: 'the quick brown fox' });
    const { json } = transcribe(form(wav));
    expect(json).toEqual({
      text: 'the quick brown fox',
      usage: {
        type: 'tokens',
        input_tokens: 12,
        input_token_details: { text_tokens: 0, audio_tokens: 12 },
        output_tokens: 4,
        total_tokens: 16,
      },
    });
    expect(transcribe(form(wav), 'translations').json.text).toBe('the quick brown fox');
  });

  test('speech can be raw samples or events', () => {
    expect(planOf('audio/speech', { ...body, response_format: 'pcm' }).headers['content-type']).toContain(
      'audio/pcm',
    );
    const all = events(ask('audio/speech', { ...body, stream_format: 'sse' }).text);
    expect(all[0]?.data.type).toBe('speech.audio.delta');
    expect(all.at(-1)?.data).toMatchObject({ type: 'speech.audio.done', usage: { output_tokens: 12 } });
  });

  test('a file of another kind is described, the same each time', () => {
    const { json } = transcribe(form(Buffer.from('not a sound')));
    expect(json.text).toContain('The file speech.wav has 11 bytes');
    expect(transcribe(form(Buffer.from('not a sound'))).json).toEqual(json);
  });

  test('every format of a transcription', () => {
    const wav = bytesOf(planOf('audio/speech', body).steps);
    const text = (response_format: string) => transcribe(form(wav, { response_format }));
    expect(text('text').text).toBe('the quick brown fox\n');
    expect(text('srt').text).toBe('1\n00:00:00,000 --> 00:00:01,200\nthe quick brown fox\n\n');
    expect(text('vtt').text).toBe('WEBVTT\n\n00:00:00.000 --> 00:00:01.200\nthe quick brown fox\n\n');
    expect(text('verbose_json').json).toMatchObject({
      duration: 1.2,
      usage: { type: 'duration', seconds: 2 },
    });
    expect(text('diarized_json').json.segments[0]).toMatchObject({ speaker: 'A' });
    const all = events(transcribe(form(wav, { stream: 'true' })).text);
    expect(
      all
        .slice(0, -2)
        .map((event) => event.data.delta)
        .join(''),
    ).toBe('the quick brown fox');
    expect(all.at(-2)?.data).toMatchObject({ type: 'transcript.text.done', usage: { total_tokens: 16 } });
  });

  test.each([
    ['no file', { fields: new Map([['model', ['x']]]), file: null }, 'file'],
    ['no model', { ...form(new Uint8Array(1)), fields: new Map() }, 'model'],
    ['an unknown format', form(new Uint8Array(1), { response_format: 'morse' }), 'response_format'],
  ])('%s is refused', (_, given, param) => {
    expect(transcribe(given).json.error.param).toBe(param);
  });

  test('a body that is no form is refused', () => {
    expect(ask('audio/transcriptions', {}).json.error.message).toContain('multipart/form-data');
  });
});

describe('models', () => {
  const get = (path: string) =>
    told(answer({ method: 'GET', path, script: '', body: new Uint8Array(), form: null }, setting()));

  test('are listed, and each can be fetched', () => {
    const { data, object } = get('/v1/models').json;
    expect(object).toBe('list');
    const ids = data.map((model: { id: string }) => model.id);
    expect(ids).toEqual(
      expect.arrayContaining(['sandbox-small', 'sandbox-large', 'sandbox-embed', 'sandbox-image']),
    );
    for (const id of ids)
      expect(get(`/v1/models/${id}`).json).toMatchObject({ id, object: 'model', owned_by: 'keygate' });
    expect(get('/v1/models/gpt-5').json.error).toMatchObject({ code: 'model_not_found' });
    expect(get('/v1/models/gpt-5').status).toBe(404);
  });
});

test('ten thousand ids are ten thousand different ones', () => {
  const at = setting();
  expect(new Set(Array.from({ length: 10_000 }, () => at.newId('call_', 24))).size).toBe(10_000);
});
