import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { countTokens } from 'gpt-tokenizer/encoding/o200k_base';
import { describe, expect, test } from 'vitest';
import { ask, type Event, events, NOW, setting } from './ask.ts';

const hello = { model: 'sandbox-small', input: 'hello there, how is the weather?' };
const lookup = {
  type: 'function',
  name: 'get_weather',
  description: 'weather of a city',
  parameters: {
    type: 'object',
    properties: { city: { type: 'string' } },
    required: ['city'],
    additionalProperties: false,
  },
  strict: true,
};
const streamOf = (body: object, script = ''): Event[] =>
  events(ask('responses', { ...body, stream: true }, script).text);
const text = (response: { output: { content: { text: string }[] }[] }) =>
  response.output.at(-1)?.content[0]?.text ?? '';

describe('a response', () => {
  test('is a whole object of the API with output and usage', () => {
    const { json } = ask('responses', { ...hello, instructions: 'Be brief.', metadata: { a: 'b' } });
    expect(json).toMatchObject({
      id: expect.stringMatching(/^resp_[0-9a-f]{48}$/),
      object: 'response',
      created_at: NOW / 1000,
      status: 'completed',
      model: 'sandbox-small',
      error: null,
      incomplete_details: null,
      instructions: 'Be brief.',
      metadata: { a: 'b' },
      parallel_tool_calls: true,
      tool_choice: 'auto',
      tools: [],
      output: [
        {
          id: expect.stringMatching(/^msg_/),
          type: 'message',
          role: 'assistant',
          status: 'completed',
          content: [{ type: 'output_text', annotations: [], text: expect.stringContaining('hello there') }],
        },
      ],
    });
    expect(json.usage).toEqual({
      input_tokens: 3 + 1 + 3 + (3 + 1 + countTokens(hello.input)) + 3,
      input_tokens_details: { cached_tokens: 0, cache_write_tokens: 0 },
      output_tokens: countTokens(text(json)),
      output_tokens_details: { reasoning_tokens: 0 },
      total_tokens: json.usage.input_tokens + json.usage.output_tokens,
    });
  });

  test('its input tokens are what the input_tokens endpoint says beforehand', () => {
    const body = { ...hello, instructions: 'Be brief.', tools: [lookup] };
    expect(ask('responses/input_tokens', body).json).toEqual({
      object: 'response.input_tokens',
      input_tokens: ask('responses', body).json.usage.input_tokens,
    });
  });

  test('max_output_tokens makes it incomplete, and says why', () => {
    const { json } = ask('responses', { ...hello, max_output_tokens: 16 });
    expect(json).toMatchObject({
      status: 'incomplete',
      incomplete_details: { reason: 'max_output_tokens' },
      output: [{ status: 'incomplete' }],
      usage: { output_tokens: 16 },
    });
    expect(streamOf({ ...hello, max_output_tokens: 16 }).at(-1)?.name).toBe('response.incomplete');
  });

  test('reasoning is an item before the message, with a summary if asked, and is counted', () => {
    const { json } = ask('responses', { ...hello, reasoning: { effort: 'low', summary: 'auto' } });
    expect(json.output.map((item: { type: string }) => item.type)).toEqual(['reasoning', 'message']);
    expect(json.output[0].summary[0]).toMatchObject({ type: 'summary_text', text: expect.any(String) });
    expect(json.usage.output_tokens_details.reasoning_tokens).toBe(64);
    expect(ask('responses', { ...hello, reasoning: { effort: 'low' } }).json.output[0].summary).toEqual([]);
  });

  test('text.format gives what validates', () => {
    const format = { type: 'json_schema', name: 'x', schema: lookup.parameters, strict: true };
    const { json } = ask('responses', { ...hello, text: { format } });
    expect(new Ajv2020().validate(lookup.parameters, JSON.parse(text(json)))).toBe(true);
  });
});

describe('a streamed response', () => {
  test('has the events of the API in their order, numbered from 0 without a gap', () => {
    const all = streamOf(hello, 'tokens=2');
    expect(all.map((event) => event.name)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    expect(all.map((event) => event.data.sequence_number)).toEqual(all.map((_, index) => index));
    expect(all.every((event) => event.data.type === event.name)).toBe(true);
    expect(all[0]?.data.response).toMatchObject({ status: 'in_progress', output: [], usage: null });
  });

  test('a tool call has its own', () => {
    const body = { ...hello, input: 'What is the weather in Paris?', tools: [lookup] };
    const names = streamOf(body).map((event) => event.name);
    expect(names.slice(0, 4)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.function_call_arguments.delta',
    ]);
    expect(names.slice(-3)).toEqual([
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ]);
    const custom = { ...body, tools: [{ type: 'custom', name: 'weather' }] };
    expect(streamOf(custom).map((event) => event.name)).toContain('response.custom_tool_call_input.done');
  });

  test('a reasoning summary has its own', () => {
    const names = streamOf({ ...hello, reasoning: { effort: 'low', summary: 'auto' } }).map(
      (event) => event.name,
    );
    expect(names.slice(2, 8)).toEqual([
      'response.output_item.added',
      'response.reasoning_summary_part.added',
      'response.reasoning_summary_text.delta',
      'response.reasoning_summary_text.done',
      'response.reasoning_summary_part.done',
      'response.output_item.done',
    ]);
  });

  test('any input streams to the plain response: its text, its output and its usage', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'grapheme', maxLength: 80 }),
        fc.option(fc.integer({ min: 16, max: 80 })),
        (input, most) => {
          const body = { model: 'sandbox-small', input, max_output_tokens: most };
          const plain = ask('responses', body).json;
          const all = streamOf(body);
          const deltas = all.filter((event) => event.name === 'response.output_text.delta');
          expect(deltas.map((event) => event.data.delta).join('')).toBe(text(plain));
          expect(all.at(-1)?.data.response).toEqual(plain);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('turns', () => {
  const question = { ...hello, input: 'What is the weather in Paris?', tools: [lookup] };

  test('a tool’s output in the input, with its call, is answered in text', () => {
    const [call] = ask('responses', question).json.output;
    expect(call).toMatchObject({
      type: 'function_call',
      name: 'get_weather',
      arguments: '{"city":"Paris"}',
      status: 'completed',
    });
    const { json } = ask('responses', {
      ...question,
      input: [
        { role: 'user', content: [{ type: 'input_text', text: question.input }] },
        call,
        { type: 'function_call_output', call_id: call.call_id, output: 'sunny' },
      ],
    });
    expect(text(json)).toContain('The tool answered “sunny”');
  });

  test('previous_response_id goes on from it: its calls may be answered, its tokens are in the prompt', () => {
    const at = setting();
    const first = ask('responses', question, '', at).json;
    const output = { type: 'function_call_output', call_id: first.output[0].call_id, output: 'sunny' };
    const second = ask(
      'responses',
      { ...question, input: [output], previous_response_id: first.id },
      '',
      at,
    ).json;
    expect(second.previous_response_id).toBe(first.id);
    expect(second.usage.input_tokens).toBeGreaterThan(first.usage.total_tokens);
    expect(text(second)).toContain('sunny');
  });

  test.each([
    [
      'an unknown previous response',
      { previous_response_id: 'resp_x' },
      'previous_response_id',
      'previous_response_not_found',
    ],
    [
      'an output of no call',
      { input: [{ type: 'function_call_output', call_id: 'c', output: 'x' }] },
      'input',
      null,
    ],
    [
      'a call without output',
      { input: [{ type: 'function_call', call_id: 'c', name: 'f', arguments: '{}' }] },
      'input',
      null,
    ],
    ['no input', { input: undefined }, 'input', 'missing_required_parameter'],
    ['an unknown role', { input: [{ role: 'wizard', content: 'x' }] }, 'input[0].role', 'invalid_value'],
    [
      'an unknown part',
      { input: [{ role: 'user', content: [{ type: 'x' }] }] },
      'input[0].content[0].type',
      'invalid_value',
    ],
    ['too small a limit', { max_output_tokens: 1 }, 'max_output_tokens', 'integer_below_min_value'],
    ['too warm', { temperature: 2.5 }, 'temperature', 'decimal_above_max_value'],
    ['a conversation', { conversation: 'conv_1' }, 'conversation', 'unsupported_value'],
    ['the background', { background: true }, 'background', 'unsupported_value'],
    [
      'a hosted tool by force',
      { tools: [{ type: 'web_search' }], tool_choice: { type: 'web_search' } },
      'tool_choice',
      null,
    ],
    [
      'an open strict tool',
      { tools: [{ ...lookup, parameters: { type: 'object' } }] },
      'tools[0].parameters',
      'invalid_function_parameters',
    ],
    [
      'a schema that is none',
      { text: { format: { type: 'json_schema', name: 'x', schema: { type: 'x' } } } },
      'text.format.schema',
      'invalid_json_schema',
    ],
  ])('%s is refused as the API does', (_, change, param, code) => {
    const { status, json } = ask('responses', { ...hello, ...change });
    expect(status).toBe(400);
    expect(json.error).toEqual({ type: 'invalid_request_error', message: expect.any(String), param, code });
  });

  test('a response that was not to be stored cannot be gone on from', () => {
    const at = setting();
    const { id } = ask('responses', { ...hello, store: false }, '', at).json;
    expect(ask('responses', { ...hello, previous_response_id: id }, '', at).status).toBe(400);
  });
});
