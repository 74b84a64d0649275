// The unmodified official SDK against a whole server: every operation that it serves, streamed and not, and every
// error as the SDK types it. Nothing here knows how keygate works inside.

import OpenAI, { toFile } from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
let client: OpenAI;

beforeAll(async () => {
  server = await startTestServer();
  client = server.client;
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
});

const model = 'sandbox-small';
const messages = [{ role: 'user' as const, content: 'Say something about gateways.' }];

function withKey(apiKey: string, options: Record<string, unknown> = {}): OpenAI {
  return new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0, ...options });
}

describe('chat.completions', () => {
  it('answers, and says what was used', async () => {
    const { data, response, request_id } = await client.chat.completions
      .create({ model, messages })
      .withResponse();
    expect(data.object).toBe('chat.completion');
    expect(data.choices[0]?.message.content?.length).toBeGreaterThan(10);
    expect(data.usage?.total_tokens).toBe(
      (data.usage?.prompt_tokens ?? 0) + (data.usage?.completion_tokens ?? 0),
    );
    expect(request_id).toMatch(/^req_[0-9a-f]{32}$/);
    expect(response.headers.get('openai-organization')).toBe(server.organizationId);
  });

  it('streams the same words, with usage only for those who asked for it', async () => {
    const plain = await client.chat.completions.create({ model, messages });
    const read = async (extra: object) => {
      let text = '';
      let usage: OpenAI.CompletionUsage | null | undefined;
      let last: OpenAI.ChatCompletionChunk | undefined;
      for await (const chunk of await client.chat.completions.create({
        model,
        messages,
        stream: true,
        ...extra,
      })) {
        text += chunk.choices[0]?.delta.content ?? '';
        usage = chunk.usage ?? usage;
        last = chunk;
      }
      return { text, usage, last };
    };
    const silent = await read({});
    expect(silent.text).toBe(plain.choices[0]?.message.content);
    expect(silent.usage ?? null).toBeNull();
    expect(silent.last?.choices[0]?.finish_reason).toBe('stop');
    const telling = await read({ stream_options: { include_usage: true } });
    expect(telling.usage).toEqual(plain.usage);
    expect(telling.last?.choices).toEqual([]);
  });

  it('works with the SDK’s stream helper', async () => {
    const stream = client.chat.completions.stream({ model, messages });
    const final = await stream.finalChatCompletion();
    expect(final.choices[0]?.message.content).toBe(
      (await client.chat.completions.create({ model, messages })).choices[0]?.message.content,
    );
  });

  it('calls tools, and answers in a schema that the SDK parses', async () => {
    const tools: OpenAI.ChatCompletionTool[] = [
      {
        type: 'function',
        function: {
          name: 'weather',
          parameters: {
            type: 'object',
            properties: { city: { type: 'string' } },
            required: ['city'],
            additionalProperties: false,
          },
        },
      },
    ];
    const called = await client.chat.completions.create({ model, messages, tools, tool_choice: 'required' });
    const [call] = called.choices[0]?.message.tool_calls ?? [];
    expect(call?.type === 'function' && JSON.parse(call.function.arguments)).toHaveProperty('city');
    const Shape = z.object({ name: z.string(), count: z.number().int(), tags: z.array(z.enum(['a', 'b'])) });
    const parsed = await client.chat.completions.parse({
      model,
      messages,
      response_format: zodResponseFormat(Shape, 'shape'),
    });
    expect(Shape.parse(parsed.choices[0]?.message.parsed)).toBeTruthy();
  });
});

describe('responses', () => {
  it('answers, and says what was used', async () => {
    const response = await client.responses.create({ model, input: 'Say something.' });
    expect(response.status).toBe('completed');
    expect(response.output_text.length).toBeGreaterThan(10);
    expect(response.usage?.total_tokens).toBe(
      (response.usage?.input_tokens ?? 0) + (response.usage?.output_tokens ?? 0),
    );
  });

  it('streams typed events in order, and ends with the whole response', async () => {
    const types: string[] = [];
    let text = '';
    let whole: OpenAI.Responses.Response | undefined;
    let sequence = -1;
    for await (const event of await client.responses.create({
      model,
      input: 'Say something.',
      stream: true,
    })) {
      types.push(event.type);
      expect(event.sequence_number).toBe(++sequence);
      if (event.type === 'response.output_text.delta') text += event.delta;
      if (event.type === 'response.completed') whole = event.response;
    }
    expect(types[0]).toBe('response.created');
    expect(types.at(-1)).toBe('response.completed');
    expect(whole?.usage?.output_tokens).toBeGreaterThan(0);
    expect((await client.responses.create({ model, input: 'Say something.' })).output_text).toBe(text);
    const helper = client.responses.stream({ model, input: 'Say something.' });
    expect((await helper.finalResponse()).output_text).toBe(text);
  });

  it('counts input tokens, and goes on from an earlier response of the same project only', async () => {
    const counted = await client.responses.inputTokens.count({ model, input: 'Say something.' });
    expect(counted.input_tokens).toBeGreaterThan(0);
    const first = await client.responses.create({ model, input: 'One.' });
    await client.responses.create({ model, input: 'Two.', previous_response_id: first.id });
    await expect(
      client.responses.create({ model, input: 'x', previous_response_id: 'resp_of_another' }),
    ).rejects.toMatchObject({
      status: 400,
      code: 'previous_response_not_found',
    });
  });
});

describe('the other operations', () => {
  it('embeddings, in base64 as the SDK asks and as numbers', async () => {
    const coded = await client.embeddings.create({ model: 'sandbox-embed', input: ['a cat', 'a cat sat'] });
    const plain = await client.embeddings.create({
      model: 'sandbox-embed',
      input: ['a cat', 'a cat sat'],
      encoding_format: 'float',
    });
    for (const [i, { embedding }] of coded.data.entries()) {
      expect(embedding.length).toBe(1536);
      const other = plain.data[i]?.embedding ?? [];
      expect(Math.max(...embedding.map((value, at) => Math.abs(value - (other[at] ?? 9))))).toBeLessThan(
        1e-6,
      );
    }
    expect(coded.usage.prompt_tokens).toBeGreaterThan(0);
  });

  it('models', async () => {
    const names: string[] = [];
    for await (const listed of client.models.list()) names.push(listed.id);
    expect(names).toContain(model);
    expect(await client.models.retrieve(model)).toMatchObject({ id: model, object: 'model' });
  });

  it('completions, plain and streamed', async () => {
    const plain = await client.completions.create({ model, prompt: 'Once' });
    let text = '';
    for await (const chunk of await client.completions.create({ model, prompt: 'Once', stream: true }))
      text += chunk.choices[0]?.text ?? '';
    expect(text).toBe(plain.choices[0]?.text);
  });

  it('moderations, images, speech and transcriptions', async () => {
    const moderation = await client.moderations.create({ model: 'sandbox-moderation', input: 'hello' });
    expect(moderation.results[0]?.flagged).toBe(false);
    const image = await client.images.generate({
      model: 'sandbox-image',
      prompt: 'a gate',
      n: 2,
      size: '1024x1024',
    });
    expect(image.data?.length).toBe(2);
    expect(
      Buffer.from(image.data?.[0]?.b64_json ?? '', 'base64')
        .subarray(1, 4)
        .toString(),
    ).toBe('PNG');
    const speech = await client.audio.speech.create({
      model: 'sandbox-audio',
      voice: 'alloy',
      input: 'hello',
      response_format: 'wav',
    });
    const wav = Buffer.from(await speech.arrayBuffer());
    expect(wav.subarray(0, 4).toString()).toBe('RIFF');
    const heard = await client.audio.transcriptions.create({
      model: 'sandbox-audio',
      file: await toFile(wav, 'hello.wav'),
    });
    expect(heard.text.length).toBeGreaterThan(0);
  });
});

describe('errors are the SDK’s own types', () => {
  const chat = (other: OpenAI, name: string = model) =>
    other.chat.completions.create({ model: name, messages });

  it('AuthenticationError for a key that will not do, and for a mismatched organization or project', async () => {
    await expect(chat(withKey('sk-proj-wrong'))).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    const mismatch = await chat(withKey(server.projectKey, { project: 'proj_other' })).catch(
      (error: unknown) => error,
    );
    expect(mismatch).toBeInstanceOf(OpenAI.AuthenticationError);
    expect(mismatch).toMatchObject({
      status: 401,
      code: 'mismatched_project',
      type: 'invalid_request_error',
    });
    await expect(chat(withKey(server.projectKey, { organization: 'org-other' }))).rejects.toMatchObject({
      code: 'mismatched_organization',
    });
    await expect(
      chat(withKey(server.projectKey, { organization: server.organizationId, project: server.projectId })),
    ).resolves.toBeTruthy();
  });

  it('PermissionDeniedError for a valid key without the right', async () => {
    const reader = await server.createKey({ name: 'reader', scopes: ['api.model.read'] });
    await expect(chat(withKey(reader.value))).rejects.toBeInstanceOf(OpenAI.PermissionDeniedError);
    await expect(withKey(reader.value).models.list()).resolves.toBeTruthy();
    await expect(chat(withKey(server.adminKey))).rejects.toBeInstanceOf(OpenAI.PermissionDeniedError);
  });

  it('NotFoundError for a model and for a path that there is not', async () => {
    await expect(chat(client, 'gpt-none')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(client.models.retrieve('gpt-none')).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
    await expect(client.get('/nothing')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  it('BadRequestError for a body that is wrong, naming the parameter', async () => {
    await expect(client.chat.completions.create({ model, messages, temperature: 9 })).rejects.toMatchObject({
      status: 400,
      param: 'temperature',
    });
    await expect(client.post('/chat/completions', { body: { messages } })).rejects.toBeInstanceOf(
      OpenAI.BadRequestError,
    );
  });

  it('RateLimitError and InternalServerError as a provider gives them, and the SDK retries as it is told', async () => {
    await expect(chat(client, `${model}:429`)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    await expect(chat(client, `${model}:500`)).rejects.toBeInstanceOf(OpenAI.InternalServerError);
  });

  it('an error in a stream that is cut', async () => {
    const read = async (): Promise<void> => {
      for await (const _ of await client.chat.completions.create({
        model: `${model}:cut`,
        messages,
        stream: true,
      })) {
        // Chunks until the cut.
      }
    };
    await expect(read()).rejects.toBeInstanceOf(OpenAI.APIError);
  });
});

describe('test keys', () => {
  it('reach the sandbox whatever model they name, and cost nothing', async () => {
    const key = await server.createKey({ name: 'test', type: 'test' });
    expect(key.value).toMatch(/^sk-test-/);
    const reply = await withKey(key.value).chat.completions.create({ model: 'gpt-6-sol', messages });
    expect(reply.model).toMatch(/^sandbox-/);
    const events = await server.stopAndReadEvents();
    const [event] = events.filter((one) => one.modelAsked === 'gpt-6-sol');
    expect(event).toMatchObject({ test: true, provider: 'sandbox' });
    expect(events.filter((one) => one.test)).toHaveLength(1);
  });
});
