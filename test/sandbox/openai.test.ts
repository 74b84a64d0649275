// The unmodified official client against the sandbox: what its types and helpers expect is what comes.

import { Ajv2020 } from 'ajv/dist/2020.js';
import OpenAI, {
  APIError,
  AuthenticationError,
  BadRequestError,
  InternalServerError,
  NotFoundError,
  RateLimitError,
  toFile,
} from 'openai';
import { zodResponseFormat, zodTextFormat } from 'openai/helpers/zod';
import { Agent } from 'undici';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type RunningSandbox, startSandbox } from '../../src/upstreams/sandbox/sandbox.ts';

let sandbox: RunningSandbox;
let agent: Agent;
let client: OpenAI;

beforeAll(async () => {
  sandbox = await startSandbox();
  agent = new Agent({ connect: { socketPath: sandbox.socketPath } });
  client = new OpenAI({
    apiKey: 'sk-test',
    baseURL: 'http://sandbox.test/v1',
    maxRetries: 0,
    fetchOptions: { dispatcher: agent },
  });
});

afterAll(async () => {
  await agent.close();
  await sandbox.close();
});

const model = 'sandbox-small';
const messages = [{ role: 'user' as const, content: 'What will the weather be in Paris?' }];
const script = (text: string) => ({ headers: { 'x-sandbox-script': text } });
const Weather = z.object({
  city: z.string(),
  days: z.number().int().min(1).max(7),
  sky: z.enum(['clear', 'grey']),
});

describe('chat', () => {
  test('plain and streamed say the same, with the same usage', async () => {
    const plain = await client.chat.completions.create({ model, messages });
    const stream = client.chat.completions.stream({
      model,
      messages,
      stream_options: { include_usage: true },
    });
    const deltas: string[] = [];
    stream.on('content', (delta) => deltas.push(delta));
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(plain.choices[0]?.message.content);
    expect(deltas.join('')).toBe(plain.choices[0]?.message.content);
    expect(final.usage).toEqual(plain.usage);
    expect(plain._request_id).toMatch(/^req_/);
  });

  test('runTools calls the tool, gives its answer back and ends in text', async () => {
    const asked: unknown[] = [];
    const parameters = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] };
    const runner = client.chat.completions.runTools({
      model,
      messages,
      tools: [
        {
          type: 'function',
          function: {
            name: 'get_weather',
            description: 'the weather of a city',
            parameters,
            parse: JSON.parse,
            function: (input: object) => {
              asked.push(input);
              return 'sunny';
            },
          },
        },
      ],
    });
    expect(await runner.finalContent()).toContain('“sunny”');
    expect(asked).toHaveLength(1);
    expect(new Ajv2020().validate(parameters, asked[0])).toBe(true);
  });

  test('a zod schema is filled in and parsed', async () => {
    const { choices } = await client.chat.completions.parse({
      model,
      messages,
      response_format: zodResponseFormat(Weather, 'weather'),
    });
    expect(Weather.parse(choices[0]?.message.parsed)).toMatchObject({ city: 'Paris' });
  });
});

describe('responses', () => {
  test('plain and streamed say the same, with the same usage', async () => {
    const body = { model, input: 'hello', reasoning: { effort: 'low' as const, summary: 'auto' as const } };
    const plain = await client.responses.create(body);
    const stream = client.responses.stream(body);
    let text = '';
    stream.on('response.output_text.delta', (event) => {
      text += event.delta;
    });
    const final = await stream.finalResponse();
    expect(plain.output_text).toContain('hello');
    expect(text).toBe(plain.output_text);
    expect(final.output_text).toBe(plain.output_text);
    expect(final.usage).toEqual(plain.usage);
  });

  test('a zod schema, a tool call and the turn after it', async () => {
    const parsed = await client.responses.parse({
      model,
      input: 'the weather of Paris',
      text: { format: zodTextFormat(Weather, 'weather') },
    });
    expect(Weather.parse(parsed.output_parsed)).toMatchObject({ city: 'Paris' });
    const tools = [
      {
        type: 'function' as const,
        name: 'get_weather',
        strict: true,
        parameters: { type: 'object', properties: {}, required: [], additionalProperties: false },
      },
    ];
    const first = await client.responses.create({ model, input: 'get weather', tools });
    const call = first.output.find((item) => item.type === 'function_call');
    const second = await client.responses.create({
      model,
      tools,
      previous_response_id: first.id,
      input: [{ type: 'function_call_output', call_id: call?.call_id ?? '', output: 'rain' }],
    });
    expect(second.output_text).toContain('“rain”');
  });

  test('input tokens are counted', async () => {
    const { input_tokens } = await client.responses.inputTokens.count({ model, input: 'hello' });
    const { usage } = await client.responses.create({ model, input: 'hello' });
    expect(input_tokens).toBe(usage?.input_tokens);
  });
});

describe('the rest', () => {
  test('embeddings: the client’s own base64 way, like texts near', async () => {
    const { data } = await client.embeddings.create({
      model: 'text-embedding-3-small',
      input: ['reset my password', 'how to reset a password', 'lemon cake'],
    });
    const [a, b, c] = data.map((each) => each.embedding);
    const cosine = (x: number[] = [], y: number[] = []) =>
      x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
    expect(a).toHaveLength(1_536);
    expect(cosine(a, a)).toBeCloseTo(1, 5);
    expect(cosine(a, b)).toBeGreaterThan(cosine(a, c) + 0.2);
  });

  test('completions, moderations, models', async () => {
    const stream = await client.completions.create({ model, prompt: 'Say this', stream: true });
    let text = '';
    for await (const chunk of stream) text += chunk.choices[0]?.text ?? '';
    expect(text).toContain('Say this');
    const { results } = await client.moderations.create({ input: 'murder' });
    expect(results[0]?.flagged).toBe(true);
    const ids: string[] = [];
    for await (const each of client.models.list()) ids.push(each.id);
    expect(ids).toContain('sandbox-embed');
    await expect(client.models.retrieve('gpt-99')).rejects.toBeInstanceOf(NotFoundError);
  });

  test('images and audio', async () => {
    const image = await client.images.generate({ model: 'gpt-image-1', prompt: 'a cat', size: '1024x1024' });
    expect(Buffer.from(image.data?.[0]?.b64_json ?? '', 'base64').toString('latin1', 1, 4)).toBe('PNG');
    const spoken = await client.audio.speech.create({
      model: 'tts-1',
      voice: 'alloy',
      input: 'good morning',
    });
    expect(spoken.headers.get('content-type')).toBe('audio/wav');
    const file = await toFile(await spoken.arrayBuffer(), 'speech.wav');
    const heard = await client.audio.transcriptions.create({ model: 'whisper-1', file });
    expect(heard.text).toBe('good morning');
  });
});

describe('faults reach the client as its own errors', () => {
  test.each([
    ['429', RateLimitError],
    ['quota', RateLimitError],
    ['401', AuthenticationError],
    ['500', InternalServerError],
    ['503', InternalServerError],
    ['bogus', BadRequestError],
  ])('%s', async (text, type) => {
    await expect(client.chat.completions.create({ model, messages }, script(text))).rejects.toBeInstanceOf(
      type,
    );
  });

  test('its retries come through where the fault is told to pass', async () => {
    const patient = client.withOptions({ maxRetries: 2 });
    const { choices } = await patient.chat.completions.create(
      { model, messages },
      script('429,times=2,retry-after=1ms'),
    );
    expect(choices).toHaveLength(1);
  });

  test('a cut stream, a malformed event, an error event and a stall', async () => {
    const read = async (text: string, options = {}): Promise<number> => {
      const stream = await client.chat.completions.create(
        { model, messages, stream: true },
        { ...script(text), ...options },
      );
      let chunks = 0;
      for await (const _ of stream) chunks += 1;
      return chunks;
    };
    await expect(read('cut=2')).rejects.toThrow();
    await expect(read('malformed=2')).rejects.toBeInstanceOf(SyntaxError);
    await expect(read('error=2')).rejects.toBeInstanceOf(APIError);
    await expect(read('stall=2', { signal: AbortSignal.timeout(100) })).resolves.toBe(2);
    await expect(read('no-done,tokens=3')).resolves.toBe(5);
  });

  test('a refused parameter is named', async () => {
    const call = client.chat.completions.create({ model, messages, temperature: 3 });
    await expect(call).rejects.toMatchObject({
      status: 400,
      param: 'temperature',
      code: 'decimal_above_max_value',
    });
  });
});
