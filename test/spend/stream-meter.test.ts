import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { StreamMeter } from '../../src/spend/meter/stream.ts';

const USAGE = {
  prompt_tokens: 11,
  completion_tokens: 5,
  total_tokens: 16,
  prompt_tokens_details: { cached_tokens: 4 },
  completion_tokens_details: { reasoning_tokens: 2 },
};

function chunk(content: string, usage: object | null | undefined = null): string {
  const body = {
    id: 'c',
    choices: [{ index: 0, delta: { content }, finish_reason: null }],
    ...(usage === undefined ? {} : { usage }),
  };
  return `data: ${JSON.stringify(body)}`;
}

const closing = `data: ${JSON.stringify({ id: 'c', choices: [], usage: USAGE })}`;

/** Words that try to look like usage, like an event's end, or like the end of a string. */
const words = fc.array(
  fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.constantFrom('"usage":{"prompt_tokens":1}', '\n\n', 'data: [DONE]', '\\', '\\"', 'é漢🙂'),
  ),
  { maxLength: 12 },
);

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const at = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [0, ...at].map((from, i) => bytes.subarray(from, at[i] ?? bytes.length));
}

function run(meter: StreamMeter, pieces: readonly Buffer[]): string {
  const out = pieces.map((piece) => meter.push(piece));
  out.push(meter.end());
  return Buffer.concat(out.filter((piece) => piece !== null)).toString('utf8');
}

const breaks = fc.constantFrom('\n\n', '\r\n\r\n');
const cuts = fc.array(fc.nat(5_000), { maxLength: 20 });

describe('watching a stream', () => {
  it('passes every byte on unchanged, however the stream is cut into pieces, and reads its usage', () => {
    fc.assert(
      fc.property(words, breaks, cuts, (texts, end, at) => {
        const text = [...texts.map((word) => chunk(word)), closing, 'data: [DONE]', ''].join(end);
        const meter = new StreamMeter('chat', false, false);
        expect(run(meter, split(Buffer.from(text), at))).toBe(text);
        expect(meter.usage).toMatchObject({ input: 11, cachedInput: 4, output: 5, reasoning: 2 });
      }),
    );
  });

  it('takes out exactly the event that keygate asked for, and nothing else', () => {
    fc.assert(
      fc.property(words, breaks, cuts, (texts, end, at) => {
        const events = texts.map((word) => chunk(word));
        const text = [...events, closing, 'data: [DONE]', ''].join(end);
        const meter = new StreamMeter('chat', true, false);
        expect(run(meter, split(Buffer.from(text), at))).toBe([...events, 'data: [DONE]', ''].join(end));
        expect(meter.usage?.output).toBe(5);
      }),
    );
  });

  it('keeps an event that states usage and still has choices', () => {
    const last = chunk('bye', USAGE);
    const meter = new StreamMeter('chat', true, false);
    expect(run(meter, [Buffer.from(`${last}\n\ndata: [DONE]\n\n`)])).toBe(`${last}\n\ndata: [DONE]\n\n`);
    expect(meter.usage?.input).toBe(11);
  });

  it('notes what the model wrote while nobody has stated usage', () => {
    fc.assert(
      fc.property(words, cuts, (texts, at) => {
        const text = `${texts.map((word) => chunk(word, undefined)).join('\n\n')}\n\n`;
        const meter = new StreamMeter('chat', false, false);
        run(meter, split(Buffer.from(text), at));
        expect(meter.words().toString('utf8')).toBe(texts.join('').toWellFormed());
      }),
    );
  });

  it('keeps a megabyte of long text, and knows how much more there was', () => {
    const meter = new StreamMeter('chat', false, false);
    for (let i = 0; i < 3_000; i++) meter.push(Buffer.from(`${chunk('x'.repeat(1_000), undefined)}\n\n`));
    const kept = meter.words().length;
    expect(kept).toBeGreaterThanOrEqual(1024 * 1024);
    expect(kept).toBeLessThan(1100 * 1024);
    expect(kept + meter.unkept).toBe(3_000_000);
  });

  it('reads usage and id of a Responses stream from its own place, not from a schema that is echoed', () => {
    const created = {
      type: 'response.created',
      response: {
        id: 'resp_1',
        usage: null,
        text: { format: { schema: { properties: { usage: { type: 'object', input_tokens: 1 } } } } },
      },
    };
    const completed = {
      type: 'response.completed',
      response: {
        ...created.response,
        usage: { input_tokens: 21, output_tokens: 8, output_tokens_details: { reasoning_tokens: 3 } },
        output: [{ type: 'web_search_call' }],
      },
    };
    const events = [created, { type: 'response.output_text.delta', delta: 'hi' }, completed]
      .map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)
      .join('');
    const meter = new StreamMeter('responses', false, true);
    expect(run(meter, [Buffer.from(events)])).toBe(events);
    expect(meter.objectId).toBe('resp_1');
    expect(meter.usage).toMatchObject({ input: 21, output: 8, reasoning: 3, searches: 1 });
  });

  it('does not hold an endless event', () => {
    const meter = new StreamMeter('chat', true, false);
    let passed = 0;
    for (let i = 0; i < 200; i++) passed += meter.push(Buffer.alloc(64 * 1024, 0x78))?.length ?? 0;
    expect(passed).toBeGreaterThan(4 * 1024 * 1024);
  });
});
