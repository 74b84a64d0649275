import type { ServerResponse } from 'node:http';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { eventData } from '../../src/cli/stream.ts';
import { ServerDouble } from './double.ts';
import { type Given, run, Signals } from './running.ts';

let server: ServerDouble;
let url: string;

beforeEach(async () => {
  server = new ServerDouble();
  url = await server.start();
});

afterEach(() => server.stop());

const call = (args: string[], given: Given = {}) =>
  run(['call', ...args], {
    ...given,
    env: { OPENAI_BASE_URL: `${url}/v1`, OPENAI_API_KEY: 'sk-any', ...given.env },
  });

const chunk = (content: string) =>
  `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`;

function answerStream(...parts: string[]): void {
  server.intercept = (_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (const part of parts) response.write(part);
    response.end();
    return true;
  };
}

describe('call', () => {
  test('prints the reply as it comes, and ends it with a line break', async () => {
    answerStream(
      chunk('Hel'),
      chunk('lo'),
      'data: {"choices":[],"usage":{"total_tokens":3}}\n\n',
      'data: [DONE]\n\n',
    );
    expect(await call(['Say', 'hello'])).toEqual({ code: 0, out: 'Hello\n', err: '' });
    expect(server.asked).toEqual([
      {
        method: 'POST',
        path: '/v1/chat/completions',
        authorization: 'Bearer sk-any',
        body: { model: 'sandbox-small', messages: [{ role: 'user', content: 'Say hello' }], stream: true },
      },
    ]);
  });

  test('takes model, system message, length and key from options, and the prompt from standard input', async () => {
    answerStream('data: [DONE]\n\n');
    const options = ['--model', 'm', '--system', 'Be brief', '--max-tokens', '5', '--key', 'sk-other'];
    expect(await call(options, { input: 'A long\nquestion\n' })).toMatchObject({ code: 0, out: '' });
    expect(server.asked[0]).toMatchObject({
      authorization: 'Bearer sk-other',
      body: {
        model: 'm',
        max_completion_tokens: 5,
        messages: [
          { role: 'system', content: 'Be brief' },
          { role: 'user', content: 'A long\nquestion' },
        ],
      },
    });
  });

  test('with --json waits for the whole reply and prints it as it came', async () => {
    const reply = { id: 'chatcmpl-1', choices: [{ message: { content: 'Hi' } }], usage: { total_tokens: 2 } };
    server.intercept = () => reply;
    const { code, out } = await call(['--json', 'hi']);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toEqual(reply);
    expect(server.asked[0]?.body).toMatchObject({ stream: false });
  });

  test('without OPENAI_BASE_URL it goes to KEYGATE_URL', async () => {
    answerStream('data: [DONE]\n\n');
    const env = { KEYGATE_URL: url, OPENAI_API_KEY: 'sk-any' };
    expect(await run(['call', 'hi'], { env })).toMatchObject({ code: 0 });
    expect(server.asked).toHaveLength(1);
  });

  test('what a model writes cannot rewrite the terminal', async () => {
    answerStream(chunk('a\u001b[2J\u001b]52;c;eA==\u0007b\tc\nd'), 'data: [DONE]\n\n');
    expect((await call(['hi'], { terminal: true })).out).toBe('a[2J]52;c;eA==b\tc\nd\n');
    expect((await call(['hi'])).out).toContain('\u001b[2J');
  });

  test.each([
    [
      'an error inside the stream',
      [chunk('So'), 'data: {"error":{"message":"Overloaded."}}\n\n'],
      'Overloaded.',
    ],
    ['a stream that stops short', [chunk('So')], 'ended before it was complete'],
    ['something that is no stream', ['data: <html>\n\n'], 'cannot be read'],
  ])('%s: exit code 1 with the id of the request, after what was said', async (_, parts, said) => {
    answerStream(...parts);
    const { code, out, err } = await call(['hi']);
    expect(code).toBe(1);
    expect(err).toContain(said);
    expect(err).toContain('(req_double)');
    expect(out).toBe(parts.length > 0 && parts[0]?.includes('So') ? 'So\n' : '');
  });

  test('a connection that breaks: exit code 1', async () => {
    server.intercept = (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(chunk('So'), () => response.destroy());
      return true;
    };
    expect(await call(['hi'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('The connection broke'),
    });
  });

  test('a refusal: exit code 1 and the server’s words', async () => {
    server.intercept = (_, response) =>
      response
        .writeHead(429, { 'content-type': 'application/json' })
        .end('{"error":{"message":"Rate limit reached."}}');
    expect(await call(['hi'])).toMatchObject({ code: 1, err: 'Rate limit reached. (429, req_double)\n' });
  });

  test('Ctrl-C ends the call at the server too: exit code 130', async () => {
    const signals = new Signals();
    let gone: Promise<unknown> = Promise.resolve();
    server.intercept = (_, response: ServerResponse) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      gone = new Promise((resolve) => response.once('close', resolve));
      response.write(chunk('So'), () => signals.send());
      return true;
    };
    expect(await call(['hi'], { signals })).toMatchObject({ code: 130, err: 'Interrupted.\n' });
    await gone;
    expect(signals.listeners).toBe(0);
  });

  test.each([
    [[], { inIsTerminal: true }, 2, 'Give a prompt'],
    [[], { input: ' \n' }, 2, 'The prompt is empty'],
    [['--max-tokens', '0', 'hi'], {}, 2, '--max-tokens must be'],
    [['hi'], { env: { OPENAI_API_KEY: '' } }, 78, 'set OPENAI_API_KEY'],
    [['hi'], { env: { OPENAI_BASE_URL: 'nonsense' } }, 78, 'OPENAI_BASE_URL must be'],
  ] as const)('call %j %j: exit code %i before anything is sent', async (args, given, code, said) => {
    const ran = await call([...args], given);
    expect(ran.code).toBe(code);
    expect(ran.err).toContain(said);
    expect(server.asked).toEqual([]);
  });
});

describe('server-sent events', () => {
  test('are the same however the bytes are cut, with any of the three line ends', async () => {
    const line = fc.stringMatching(/^[^\r\n]{0,12}$/u);
    const events = fc.array(fc.array(line, { minLength: 1, maxLength: 3 }), { maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(
        events,
        fc.constantFrom('\n', '\r\n', '\r'),
        fc.array(fc.nat(8)),
        async (wanted, end, cuts) => {
          const text = wanted.map(
            (data) =>
              `: comment${end}event: x${end}${data.map((one) => `data: ${one}${end}`).join('')}${end}`,
          );
          // Something follows every event, as it does on the wire: a CR at the very end might be half a line end.
          const bytes = Buffer.from(`${text.join('')}: end\n`);
          async function* pieces(): AsyncGenerator<Uint8Array> {
            let at = 0;
            for (const cut of cuts) {
              yield bytes.subarray(at, at + cut);
              at += cut;
            }
            yield bytes.subarray(at);
          }
          const got: string[] = [];
          for await (const data of eventData(pieces())) got.push(data);
          expect(got).toEqual(wanted.map((data) => data.join('\n')));
        },
      ),
    );
  });

  test('an event that was not ended is none', async () => {
    async function* unended(): AsyncGenerator<Uint8Array> {
      yield Buffer.from('data: a\n\ndata: b\n');
    }
    const got: string[] = [];
    for await (const data of eventData(unended())) got.push(data);
    expect(got).toEqual(['a']);
  });
});
