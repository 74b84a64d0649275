// The thread on which tokens are counted. One job at a time: it answers each with a count, or with null where the
// text could not be read.

import { parentPort } from 'node:worker_threads';
import type { CountKind } from './count.ts';
import type { TokenCount } from './count-estimate.ts';
import { countPrompt } from './count-prompt.ts';
import { encodingFor, Tokenizer } from './count-text.ts';
import { isBearable } from './count-weight.ts';

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
    const bytes = typeof job.text === 'string' ? Buffer.from(job.text) : bufferOver(job.text);
    const text = bytes.toString();
    if (job.kind === 'request-json')
      return isBearable(bytes) ? countPrompt(JSON.parse(text), job.model) : null;
    const encoding = encodingFor(job.model);
    const count = Tokenizer.of(encoding.name).count(text);
    return { tokens: count.tokens, exact: count.exact && encoding.known };
  } catch {
    // Not JSON after all: as with a body too heavy to parse, the estimate of its size stands in.
    return null;
  }
}

function bufferOver(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
