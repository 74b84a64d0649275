// `keygate call`: one prompt through the gateway, its reply streamed to the terminal. It is an ordinary client: a
// key, an address, POST /v1/chat/completions; what works here works for any client.

import type { Command } from 'commander';
import { z } from 'zod';
import { CommandError, EXIT } from './exit.ts';
import { forTerminal, type Io } from './io.ts';
import { printJson } from './print.ts';
import { DEFAULT_URL, parseJson, refused, serverUrl, unreachable } from './server.ts';
import { eventData } from './stream.ts';

interface Options {
  readonly model: string;
  readonly system?: string;
  readonly maxTokens?: string;
  readonly key?: string;
  readonly json?: true;
}

const Chunk = z.object({
  choices: z.array(z.object({ delta: z.object({ content: z.string().nullish() }).optional() })).optional(),
  error: z.object({ message: z.string() }).optional(),
});

export function addCall(program: Command, io: Io): void {
  program
    .command('call')
    .description('send one prompt and print the reply as it comes')
    .argument('[prompt...]', 'the prompt; without one it is read from standard input')
    .option('-m, --model <model>', 'the model', 'sandbox-small')
    .option('-s, --system <text>', 'a system message before the prompt')
    .option('--max-tokens <n>', 'how long the reply may be')
    .option(
      '-k, --key <key>',
      'the key (default: OPENAI_API_KEY, which other users of the machine cannot see)',
    )
    .option('--json', 'wait for the whole reply and print it as JSON')
    .addHelpText(
      'after',
      `
It reads OPENAI_API_KEY, and OPENAI_BASE_URL or else KEYGATE_URL (default ${DEFAULT_URL}).

Examples:
  keygate call "Say hello"
  keygate call --model gpt-5-mini --system "Answer in French" < question.txt
  keygate call --json "Say hello" | jq .usage`,
    )
    .action(async (words: string[], options: Options) => {
      const base = baseUrl(io);
      const key = options.key ?? io.env['OPENAI_API_KEY']?.trim() ?? '';
      if (!/^[\x21-\x7e]+$/.test(key)) {
        throw new CommandError(
          EXIT.configuration,
          'This needs a key: set OPENAI_API_KEY, or make one with `keygate keys create NAME`.',
        );
      }
      const body = await requestBody(io, words, options);
      const stop = new AbortController();
      const ignore = io.onSignal(() => stop.abort());
      try {
        await exchange(io, base, key, body, stop.signal);
      } catch (error) {
        if (stop.signal.aborted) throw new CommandError(EXIT.interrupted, 'Interrupted.');
        throw error;
      } finally {
        ignore();
      }
    });
}

function baseUrl(io: Io): string {
  const { OPENAI_BASE_URL: base, KEYGATE_URL: server } = io.env;
  return base ? serverUrl(base, 'OPENAI_BASE_URL') : serverUrl(server ?? DEFAULT_URL, 'KEYGATE_URL');
}

interface RequestBody {
  readonly model: string;
  readonly messages: readonly { readonly role: 'system' | 'user'; readonly content: string }[];
  readonly stream: boolean;
  readonly max_completion_tokens?: number;
}

async function requestBody(io: Io, words: readonly string[], options: Options): Promise<RequestBody> {
  const fromInput = words.length === 0 || (words.length === 1 && words[0] === '-');
  if (fromInput && io.inIsTerminal) {
    throw new CommandError(
      EXIT.usage,
      'Give a prompt: keygate call "Say hello", or send one to standard input.',
    );
  }
  const prompt = fromInput ? (await io.readInput()).trimEnd() : words.join(' ');
  if (prompt === '')
    throw new CommandError(EXIT.usage, 'The prompt is empty: give one, such as keygate call "Say hello".');
  const { system, maxTokens } = options;
  if (maxTokens !== undefined && !/^[1-9]\d{0,8}$/.test(maxTokens)) {
    throw new CommandError(EXIT.usage, '--max-tokens must be a whole number of at least 1.');
  }
  const messages: RequestBody['messages'] = [{ role: 'user', content: prompt }];
  return {
    model: options.model,
    messages: system === undefined ? messages : [{ role: 'system', content: system }, ...messages],
    stream: options.json !== true,
    ...(maxTokens !== undefined && { max_completion_tokens: Number(maxTokens) }),
  };
}

async function exchange(
  io: Io,
  base: string,
  key: string,
  body: RequestBody,
  signal: AbortSignal,
): Promise<void> {
  const reply = await fetch(`${base}/v1/chat/completions`, {
    method: 'POST',
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
    body: JSON.stringify(body),
    redirect: 'manual',
    signal,
  }).catch((error: unknown) => {
    throw signal.aborted ? error : unreachable(base, error);
  });
  const requestId = reply.headers.get('x-request-id');
  if (reply.status !== 200 || reply.body === null) {
    throw refused(base, reply.status, requestId, parseJson(await reply.text()));
  }
  if (!body.stream) return printJson(io, parseJson(await reply.text()) ?? null);
  await printStream(io, reply.body, requestId);
}

/** Prints what the model says as it says it; a stream that ends before it says `[DONE]` is a failure. */
async function printStream(
  io: Io,
  stream: AsyncIterable<Uint8Array>,
  requestId: string | null,
): Promise<void> {
  let written = false;
  const fail = (why: string, error?: unknown): CommandError => {
    if (written) io.out('\n');
    const request = requestId === null ? '' : ` (${requestId})`;
    return new CommandError(EXIT.refused, `${why}${request}`, { cause: error });
  };
  try {
    for await (const data of eventData(stream)) {
      if (data === '[DONE]') {
        if (written) io.out('\n');
        return;
      }
      const chunk = Chunk.safeParse(parseJson(data));
      if (!chunk.success) throw fail('The reply cannot be read: it is no stream of chat completion chunks.');
      if (chunk.data.error)
        throw fail(`The reply ended with an error: ${forTerminal(io, chunk.data.error.message)}`);
      const text = chunk.data.choices?.[0]?.delta?.content ?? '';
      if (text === '') continue;
      io.out(forTerminal(io, text));
      written = true;
    }
  } catch (error) {
    if (error instanceof CommandError || (error instanceof Error && error.name === 'AbortError')) throw error;
    throw fail('The connection broke before the reply was complete: try again.', error);
  }
  throw fail('The reply ended before it was complete: try again.');
}
