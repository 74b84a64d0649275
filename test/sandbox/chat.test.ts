import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';
import { ask, events, hello, NOW, setting, user } from './ask.ts';

const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Looks up the weather forecast of a city',
    parameters: {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer', minimum: 1, maximum: 7 } },
      required: ['city', 'days'],
      additionalProperties: false,
    },
    strict: true,
  },
};
const mail = { type: 'function', function: { name: 'send_mail', description: 'Sends a letter to somebody' } };

describe('a chat completion', () => {
  test('is a whole object of the API, and says which sandbox model made it', () => {
    const { status, headers, json } = ask('chat/completions', { ...hello, model: 'gpt-5' });
    expect(status).toBe(200);
    expect(headers).toMatchObject({ 'content-type': 'application/json', 'x-sandbox-model': 'sandbox-large' });
    expect(json).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{29}$/),
      object: 'chat.completion',
      created: NOW / 1000,
      model: 'sandbox-large',
      service_tier: 'default',
      system_fingerprint: 'fp_sandbox',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: expect.any(String), refusal: null, annotations: [] },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: expect.objectContaining({ prompt_tokens: 15 }),
    });
  });

  test('echoes and paraphrases the prompt, the same way each time, under a new id', () => {
    const at = setting();
    const first = ask('chat/completions', hello, '', at).json;
    const second = ask('chat/completions', hello, '', at).json;
    expect(first.choices[0].message.content).toContain('“hello there, how is the weather?”');
    expect(second.choices).toEqual(first.choices);
    expect(second.id).not.toBe(first.id);
    const other = ask('chat/completions', { ...hello, messages: user('tell me about cats') }).json;
    expect(other.choices[0].message.content).not.toBe(first.choices[0].message.content);
  });

  test('counts real tokens: the prompt by the published formula, the reply as the tokenizer does', () => {
    const { json } = ask('chat/completions', hello);
    const { usage, choices } = json;
    expect(usage.prompt_tokens).toBe(3 + 1 + countTokens('hello there, how is the weather?') + 3);
    expect(usage.completion_tokens).toBe(countTokens(choices[0].message.content));
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
  });

  test('stops at max_tokens and at a stop sequence', () => {
    const short = ask('chat/completions', { ...hello, max_completion_tokens: 7 }).json;
    expect(short.choices[0].finish_reason).toBe('length');
    expect(short.usage.completion_tokens).toBe(7);
    const stopped = ask('chat/completions', { ...hello, stop: ['weather', 'never'] }).json;
    expect(stopped.choices[0].finish_reason).toBe('stop');
    expect(stopped.choices[0].message.content).toBe('You wrote: “hello there, how is the ');
  });

  test('n choices differ and are all counted', () => {
    const one = ask('chat/completions', {
      ...hello,
      messages: user('a longer story about ships and the sea'),
    }).json;
    const { choices, usage } = ask('chat/completions', {
      ...hello,
      messages: user('a longer story about ships and the sea'),
      n: 5,
    }).json;
    const texts = choices.map((choice: { message: { content: string } }) => choice.message.content);
    expect(choices.map((choice: { index: number }) => choice.index)).toEqual([0, 1, 2, 3, 4]);
    expect(new Set(texts).size).toBeGreaterThan(1);
    expect(usage.completion_tokens).toBe(
      texts.reduce((sum: number, text: string) => sum + countTokens(text), 0),
    );
    expect(usage.prompt_tokens).toBe(one.usage.prompt_tokens);
  });

  test('reasoning is counted inside the reply and takes its room from the limit', () => {
    const { usage } = ask('chat/completions', { ...hello, reasoning_effort: 'low' }).json;
    expect(usage.completion_tokens_details.reasoning_tokens).toBe(64);
    expect(usage.completion_tokens).toBeGreaterThan(64);
    const cut = ask('chat/completions', {
      ...hello,
      reasoning_effort: 'high',
      max_completion_tokens: 50,
    }).json;
    expect(cut.usage).toMatchObject({
      completion_tokens: 50,
      completion_tokens_details: { reasoning_tokens: 50 },
    });
    expect(cut.choices[0]).toMatchObject({ finish_reason: 'length', message: { content: '' } });
  });

  test('a script sets the length, the cache and an exact echo', () => {
    const long = ask('chat/completions', hello, 'tokens=5000').json;
    expect(long.usage.completion_tokens).toBe(5_000);
    expect(long.choices[0].finish_reason).toBe('stop');
    const cached = ask('chat/completions', hello, 'cached=10').json.usage;
    expect(cached.prompt_tokens_details).toMatchObject({ cached_tokens: 10, cache_write_tokens: 0 });
    const written = ask('chat/completions', hello, 'cached=10,cache-write=99').json.usage;
    expect(written.prompt_tokens_details).toMatchObject({ cached_tokens: 10, cache_write_tokens: 5 });
    expect(ask('chat/completions', hello, 'cached=9999').json.usage.prompt_tokens_details.cached_tokens).toBe(
      15,
    );
    const echoed = ask('chat/completions', { ...hello, messages: user('say\nthis 👩‍👩‍👧') }, 'echo').json;
    expect(echoed.choices[0].message.content).toBe('say\nthis 👩‍👩‍👧');
  });

  test('image, audio and file parts are taken', () => {
    const { status, json } = ask('chat/completions', {
      model: 'sandbox-small',
      messages: user([
        { type: 'text', text: 'What is this?' },
        { type: 'image_url', image_url: { url: 'data:image/png;base64,AAAA' } },
        { type: 'input_audio', input_audio: { data: 'AAAA', format: 'wav' } },
        { type: 'file', file: { file_data: 'AAAA', filename: 'a.pdf' } },
      ]),
    });
    expect(status).toBe(200);
    expect(json.usage.prompt_tokens).toBeGreaterThan(765);
  });
});

describe('a streamed chat completion', () => {
  test('is a role, the text, a finish and [DONE]; with usage in one chunk more when asked', () => {
    const all = events(
      ask('chat/completions', { ...hello, stream: true, stream_options: { include_usage: true } }).text,
    );
    const chunks = all.slice(0, -1).map((event) => event.data);
    expect(all.at(-1)?.data).toBe('[DONE]');
    expect(chunks[0].choices[0].delta).toEqual({ role: 'assistant', content: '', refusal: null });
    expect(chunks.at(-2).choices[0]).toMatchObject({ delta: {}, finish_reason: 'stop' });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: ask('chat/completions', hello).json.usage });
    expect(new Set(chunks.map((chunk) => chunk.id)).size).toBe(1);
    expect(chunks.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
    expect(chunks.every((chunk) => chunk.object === 'chat.completion.chunk')).toBe(true);
    expect(ask('chat/completions', { ...hello, stream: true }).text).not.toContain('usage');
  });

  test('a chunk carries a token, and the choices take turns', () => {
    const { text } = ask('chat/completions', { ...hello, stream: true, n: 2 }, 'tokens=3');
    const order = events(text)
      .slice(0, -1)
      .map((event) => event.data.choices[0].index);
    expect(order).toEqual([0, 1, 0, 1, 0, 1, 0, 1, 0, 1]);
  });

  test('any prompt streams to exactly the plain reply and its usage', () => {
    const limits = fc.record(
      {
        max_tokens: fc.integer({ min: 1, max: 60 }),
        stop: fc.string({ minLength: 1, maxLength: 2 }),
        n: fc.integer({ min: 1, max: 3 }),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 80 }),
        limits,
        fc.boolean(),
        (text, limit, echo) => {
          const body = { model: 'sandbox-small', messages: user(text), ...limit };
          const script = echo ? 'echo' : '';
          const plain = ask('chat/completions', body, script).json;
          const streamed = { ...body, stream: true, stream_options: { include_usage: true } };
          const chunks = events(ask('chat/completions', streamed, script).text)
            .slice(0, -1)
            .map((event) => event.data);
          for (const choice of plain.choices) {
            const own = chunks
              .flatMap((chunk) => chunk.choices)
              .filter((each) => each.index === choice.index);
            expect(own.map((each) => each.delta.content ?? '').join('')).toBe(choice.message.content);
            expect(own.at(-1).finish_reason).toBe(choice.finish_reason);
          }
          expect(chunks.at(-1).usage).toEqual(plain.usage);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('tools', () => {
  const asked = {
    ...hello,
    messages: user('What will the weather be in Paris for 3 days?'),
    tools: [mail, weather],
  };

  test('the one that fits what was said is called, with arguments that its schema takes', () => {
    const { choices, usage } = ask('chat/completions', asked).json;
    expect(choices[0]).toMatchObject({ finish_reason: 'tool_calls', message: { content: null } });
    const [call] = choices[0].message.tool_calls;
    expect(call).toMatchObject({ type: 'function', function: { name: 'get_weather' } });
    expect(call.id).toMatch(/^call_[0-9a-f]{24}$/);
    const args = JSON.parse(call.function.arguments);
    expect(new Ajv2020().validate(weather.function.parameters, args)).toBe(true);
    expect(args.city).toBe('Paris');
    expect(usage.completion_tokens).toBeGreaterThan(countTokens(call.function.arguments));
  });

  test('none is called where none fits, or none is wanted', () => {
    expect(ask('chat/completions', { ...asked, messages: user('hello') }).json.choices[0].finish_reason).toBe(
      'stop',
    );
    expect(ask('chat/completions', { ...asked, tool_choice: 'none' }).json.choices[0].finish_reason).toBe(
      'stop',
    );
  });

  test('required calls one in any case; a named one ends with stop, as the API has it', () => {
    const required = ask('chat/completions', {
      ...asked,
      messages: user('hi'),
      tool_choice: 'required',
    }).json;
    expect(required.choices[0].message.tool_calls[0].function).toEqual({
      name: 'send_mail',
      arguments: '{}',
    });
    const named = ask('chat/completions', {
      ...asked,
      tool_choice: { type: 'function', function: { name: 'send_mail' } },
    }).json;
    expect(named.choices[0]).toMatchObject({ finish_reason: 'stop' });
    expect(named.choices[0].message.tool_calls[0].function.name).toBe('send_mail');
    const allowed = ask('chat/completions', {
      ...asked,
      tool_choice: {
        type: 'allowed_tools',
        allowed_tools: { mode: 'required', tools: [{ type: 'function', function: { name: 'send_mail' } }] },
      },
    }).json;
    expect(allowed.choices[0].message.tool_calls[0].function.name).toBe('send_mail');
  });

  test('those that the user names are called together, unless parallel calls are off', () => {
    const both = { ...asked, messages: user('First get_weather, then send mail') };
    const names = (body: object) =>
      ask('chat/completions', body).json.choices[0].message.tool_calls.map(
        (call: { function: { name: string } }) => call.function.name,
      );
    expect(names(both)).toEqual(['send_mail', 'get_weather']);
    expect(names({ ...both, parallel_tool_calls: false })).toEqual(['send_mail']);
  });

  test('a tool’s answer is quoted in text, so that an agent’s loop ends', () => {
    const [call] = ask('chat/completions', asked).json.choices[0].message.tool_calls;
    const { choices } = ask('chat/completions', {
      ...asked,
      messages: [
        ...asked.messages,
        { role: 'assistant', content: null, tool_calls: [call] },
        { role: 'tool', tool_call_id: call.id, content: 'sunny, 21 degrees' },
      ],
    }).json;
    expect(choices[0].finish_reason).toBe('stop');
    expect(choices[0].message.content).toContain('The tool answered “sunny, 21 degrees”');
  });

  test('streamed calls join to the plain ones', () => {
    const plain = ask('chat/completions', asked).json.choices[0].message.tool_calls[0];
    const deltas = events(ask('chat/completions', { ...asked, stream: true }).text)
      .flatMap((event) => event.data.choices ?? [])
      .flatMap(
        (choice: { delta: { tool_calls?: { function: { arguments: string } }[] } }) =>
          choice.delta.tool_calls ?? [],
      );
    expect(deltas[0]).toMatchObject({
      index: 0,
      type: 'function',
      function: { name: 'get_weather', arguments: '' },
    });
    const joined = deltas.map((delta) => delta.function.arguments).join('');
    expect(joined).toBe(plain.function.arguments);
  });

  test('a custom tool gets plain text', () => {
    const { choices } = ask('chat/completions', {
      ...hello,
      messages: user('run this shell command'),
      tools: [{ type: 'custom', custom: { name: 'shell', description: 'runs a command' } }],
    }).json;
    expect(choices[0].message.tool_calls[0]).toMatchObject({
      type: 'custom',
      custom: { name: 'shell', input: 'run this shell command' },
    });
  });
});

describe('a form for the output', () => {
  test('json_object gives an object, and is refused where nothing says JSON, as by the API', () => {
    const body = { ...hello, response_format: { type: 'json_object' } };
    expect(ask('chat/completions', body).json.error).toMatchObject({
      param: 'messages',
      type: 'invalid_request_error',
    });
    const { choices } = ask('chat/completions', {
      ...body,
      messages: user('answer in JSON about cats'),
    }).json;
    expect(JSON.parse(choices[0].message.content)).toMatchObject({
      answer: expect.any(String),
      sandbox: true,
    });
  });

  test('json_schema gives what validates', () => {
    const schema = weather.function.parameters;
    const { choices } = ask('chat/completions', {
      ...hello,
      response_format: { type: 'json_schema', json_schema: { name: 'weather', schema, strict: true } },
    }).json;
    expect(new Ajv2020().validate(schema, JSON.parse(choices[0].message.content))).toBe(true);
  });

  test('a strict schema that breaks the rules of strict ones is refused in the API’s words', () => {
    const schema = { type: 'object', properties: { a: { type: 'string' } }, additionalProperties: false };
    const refused = ask('chat/completions', {
      ...hello,
      response_format: { type: 'json_schema', json_schema: { name: 'x', schema, strict: true } },
    });
    expect(refused.status).toBe(400);
    expect(refused.json.error).toMatchObject({
      message:
        "Invalid schema for response_format 'x': In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'a'.",
      param: 'response_format',
    });
    const tool = {
      ...weather,
      function: {
        ...weather.function,
        parameters: { ...schema, required: ['a'], additionalProperties: true },
      },
    };
    expect(ask('chat/completions', { ...hello, tools: [tool] }).json.error).toMatchObject({
      code: 'invalid_function_parameters',
      param: 'tools[0].function.parameters',
    });
  });
});

describe('what the API refuses is refused, with its param and code', () => {
  const call = { id: 'c1', type: 'function', function: { name: 'f', arguments: '{}' } };
  test.each([
    ['no messages', { messages: undefined }, 'messages', 'missing_required_parameter'],
    ['no model', { model: undefined }, 'model', 'missing_required_parameter'],
    ['messages of another type', { messages: 'hi' }, 'messages', 'invalid_type'],
    ['no message at all', { messages: [] }, 'messages', 'empty_array'],
    [
      'an unknown role',
      { messages: [{ role: 'wizard', content: 'x' }] },
      'messages[0].role',
      'invalid_value',
    ],
    ['no content', { messages: [{ role: 'user' }] }, 'messages[0].content', 'missing_required_parameter'],
    [
      'an unknown part',
      { messages: user([{ type: 'smell' }]) },
      'messages[0].content[0].type',
      'invalid_value',
    ],
    ['a temperature above 2', { temperature: 3 }, 'temperature', 'decimal_above_max_value'],
    ['a temperature in words', { temperature: 'hot' }, 'temperature', 'invalid_type'],
    ['n of none', { n: 0 }, 'n', 'integer_below_min_value'],
    ['half a choice', { n: 1.5 }, 'n', 'invalid_type'],
    ['five stops', { stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop', 'array_above_max_length'],
    ['a tool choice without tools', { tool_choice: 'auto' }, 'tool_choice', null],
    [
      'a tool that is not offered',
      { tools: [mail], tool_choice: { type: 'function', function: { name: 'x' } } },
      'tool_choice',
      null,
    ],
    [
      'a tool’s name with spaces',
      { tools: [{ type: 'function', function: { name: 'a b' } }] },
      'tools[0].function.name',
      'invalid_value',
    ],
    ['stream_options without a stream', { stream_options: { include_usage: true } }, 'stream_options', null],
    [
      'a tool answer to no call',
      { messages: [...user('x'), { role: 'tool', tool_call_id: 'c1', content: 'y' }] },
      'messages.[1].role',
      null,
    ],
    [
      'a call without its answer',
      { messages: [{ role: 'assistant', tool_calls: [call] }, ...user('x')] },
      'messages.[1].role',
      null,
    ],
    ['an assistant that says nothing', { messages: [{ role: 'assistant' }] }, 'messages.[0].content', null],
    ['more output than the model gives', { max_tokens: 20_000 }, 'max_tokens', 'invalid_value'],
    ['speech in a chat', { modalities: ['text', 'audio'] }, 'modalities', 'unsupported_value'],
    [
      'a grammar',
      { tools: [{ type: 'custom', custom: { name: 'g', format: { type: 'grammar' } } }] },
      'tools[0].custom.format',
      'unsupported_value',
    ],
  ])('%s', (_, change, param, code) => {
    const { status, json } = ask('chat/completions', { ...hello, ...change });
    expect(status).toBe(400);
    expect(json.error).toEqual({ type: 'invalid_request_error', message: expect.any(String), param, code });
  });

  test('a prompt beyond the model’s context, with the numbers', () => {
    const body = { ...hello, messages: user('one two three four five six seven eight '.repeat(16_000)) };
    const { status, json } = ask('chat/completions', body);
    expect(status).toBe(400);
    expect(json.error).toMatchObject({ code: 'context_length_exceeded', param: 'messages' });
    expect(json.error.message).toMatch(
      /maximum context length is 128000 tokens\. However, your messages resulted in 12\d{4} tokens/,
    );
    expect(ask('chat/completions', { ...body, model: 'sandbox-large' }).status).toBe(200);
  });

  test('a body that is no JSON, an unknown path and a wrong method', () => {
    expect(ask('chat/completions', '{"model":').json.error.message).toContain(
      'could not parse the JSON body',
    );
    expect(ask('chat/nothing', {}).json.error.message).toBe('Invalid URL (POST /v1/chat/nothing)');
    expect(ask('chat/nothing', {}).status).toBe(404);
    expect(ask('models', {}).status).toBe(405);
  });

  test('a model of the sandbox that does not exist, or does something else', () => {
    expect(ask('chat/completions', { ...hello, model: 'sandbox-huge' }).json.error).toMatchObject({
      code: 'model_not_found',
    });
    expect(ask('chat/completions', { ...hello, model: 'sandbox-embed' }).status).toBe(404);
    expect(ask('embeddings', { model: 'sandbox-small', input: 'x' }).status).toBe(403);
    expect(ask('images/generations', { model: 'sandbox-small', prompt: 'x' }).json.error.param).toBe('model');
  });
});

test('no body, however odd, is anything but answered or refused', () => {
  const paths = [
    'chat/completions',
    'completions',
    'responses',
    'embeddings',
    'moderations',
    'images/generations',
    'audio/speech',
    'responses/input_tokens',
  ];
  const names = fc.constantFrom(
    'messages',
    'input',
    'prompt',
    'tools',
    'tool_choice',
    'response_format',
    'text',
    'stop',
    'n',
    'dimensions',
    'reasoning',
    'voice',
    'size',
  );
  fc.assert(
    fc.property(
      fc.constantFrom(...paths),
      fc.jsonValue({ maxDepth: 3 }),
      names,
      fc.boolean(),
      (path, value, name, valid) => {
        const base = valid
          ? { model: 'sandbox', messages: user('x'), input: 'x', prompt: 'x', voice: 'v' }
          : {};
        const { status } = ask(path, { ...base, [name]: value });
        expect([200, 400, 403, 404]).toContain(status);
      },
    ),
    { numRuns: 1_000 },
  );
});
