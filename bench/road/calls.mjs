// The two calls that are measured and what the provider answers to them: a small chat completion as one JSON
// document, and the same as a stream of twenty chunks. Sizes are those of a published API's own replies.

const MODEL = 'gpt-4o-mini-2024-07-18';
const ID = 'chatcmpl-BxQ2vYbN6fJq8Zr0uWm4sTk1aHd3e';
const USAGE = {
  prompt_tokens: 24,
  completion_tokens: 19,
  total_tokens: 43,
  prompt_tokens_details: { cached_tokens: 0, audio_tokens: 0 },
  completion_tokens_details: {
    reasoning_tokens: 0,
    audio_tokens: 0,
    accepted_prediction_tokens: 0,
    rejected_prediction_tokens: 0,
  },
};

/** Models that calls name in turn, and for how many keys the requests are made out: look-ups do not always find the same. */
const MODELS = Array.from({ length: 8 }, (_, i) => `gpt-4o-mini-${i}`);
export const KEYS = 64;

const question = {
  messages: [
    { role: 'system', content: 'You are a helpful assistant.' },
    { role: 'user', content: 'What is the capital of France, and on which river does it lie?' },
  ],
  max_tokens: 64,
};

const WORDS =
  'The| capital| of| France| is| Paris|.| It| lies| on| the| Seine| in| the| north| of| the| country'.split(
    '|',
  );

const chunk = (choices, usage) => ({
  id: ID,
  object: 'chat.completion.chunk',
  created: 1750000000,
  model: MODEL,
  service_tier: 'default',
  system_fingerprint: 'fp_51db84afab',
  choices,
  usage,
});

/** Eighteen words, the end, the usage: twenty events that carry something, before the closing `[DONE]`. */
const EVENTS = [
  ...WORDS.map((content, i) =>
    chunk(
      [
        {
          index: 0,
          delta: i === 0 ? { role: 'assistant', content } : { content },
          logprobs: null,
          finish_reason: null,
        },
      ],
      null,
    ),
  ),
  chunk([{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }], null),
  chunk([], USAGE),
].map((event) => `data: ${JSON.stringify(event)}\n\n`);

/** Events a stream carries besides `[DONE]`. */
export const CHUNKS = EVENTS.length;

/** Headers that the official SDK sends, without those that only say which platform it runs on. */
const request = (question) => ({
  method: 'POST',
  path: '/v1/chat/completions',
  headers: {
    'content-type': 'application/json',
    accept: 'application/json',
    'user-agent': 'OpenAI/JS 6.49.0',
  },
  bodies: Array.from({ length: KEYS }, () => MODELS)
    .flat()
    .map((model) => JSON.stringify({ model, ...question })),
});

export const json = {
  name: 'json',
  request: request(question),
  reply: JSON.stringify({
    id: ID,
    object: 'chat.completion',
    created: 1750000000,
    model: MODEL,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: `${WORDS.join('')}.`,
          refusal: null,
          annotations: [],
        },
        logprobs: null,
        finish_reason: 'stop',
      },
    ],
    usage: USAGE,
    service_tier: 'default',
    system_fingerprint: 'fp_51db84afab',
  }),
};

/** The client asks for usage itself, so that every road passes on exactly the same bytes. */
export const stream = {
  name: 'stream',
  request: request({ ...question, stream: true, stream_options: { include_usage: true } }),
  reply: [...EVENTS, 'data: [DONE]\n\n'],
};
