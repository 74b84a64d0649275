// The thread on which tokens are counted. One job at a time: it answers each with a count, or with null where the
// text could not be read.

import { parentPort } from 'node:worker_threads';
import type { CountKind } from './count.ts';
import type { TokenCount } from './count-estimate.ts';
import { countPrompt } from './count-prompt.ts';
import { encodingFor, Tokenizer } from './count-text.ts';

export interface CountJob {
  readonly id: number;
  readonly kind: CountKind;
  readonly text: string | Uint8Array;
  readonly model: string;
}

export interface CountAnswer {
  readonly id: number;
  readonly count: TokenCount | null;
}

parentPort?.on('message', (job: CountJob) => {
  const answer: CountAnswer = { id: job.id, count: countOrNull(job) };
  parentPort?.postMessage(answer);
});

function countOrNull(job: CountJob): TokenCount | null {
  try {
    const text = typeof job.text === 'string' ? job.text : new TextDecoder().decode(job.text);
    if (job.kind === 'request-json') return countPrompt(JSON.parse(text), job.model);
    const encoding = encodingFor(job.model);
    const count = Tokenizer.of(encoding.name).count(text);
    return { tokens: count.tokens, exact: count.exact && encoding.known };
  } catch {
    // Not JSON after all: the estimate of its size stands in.
    return null;
  }
}
