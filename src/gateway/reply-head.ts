// Reads the head of a provider's answer, and says which of its headers a caller may see: a few that describe the
// body or the retry. The provider's cookies, limits, organization and server names are its own and stay behind.

import type { ResponseHead } from '../upstreams/http1/response-parser.ts';

export interface ReplyHead {
  readonly status: number;
  readonly contentType: string;
  readonly isJson: boolean;
  readonly isEventStream: boolean;
  /** -1 where the provider did not say. */
  readonly contentLength: number;
  /** Headers to be passed on, flat: name, value. */
  readonly passed: readonly string[];
}

type Use = 'type' | 'length' | 'coding' | 'id' | 'pass';

const USES: ReadonlyMap<string, Use> = new Map([
  ['content-type', 'type'],
  ['content-length', 'length'],
  ['x-request-id', 'id'],
  ['content-encoding', 'coding'],
  ['content-disposition', 'pass'],
  ['content-language', 'pass'],
  ['retry-after', 'pass'],
  ['retry-after-ms', 'pass'],
  ['x-should-retry', 'pass'],
  ['x-sandbox-model', 'pass'],
]);

export function readReplyHead({ status, headers }: ResponseHead): ReplyHead {
  const passed: string[] = [];
  let contentType = '';
  let contentLength = -1;
  // A provider that codes its body although none was asked for is passed on unread.
  let coded = false;
  for (let i = 0; i + 1 < headers.length; i += 2) {
    const name = headers[i] ?? '';
    const use = USES.get(name);
    if (use === undefined) continue;
    const value = headers[i + 1] ?? '';
    if (use === 'type') contentType = value;
    else if (use === 'length') contentLength = Number(value);
    else if (use === 'coding') {
      coded = value.toLowerCase() !== 'identity';
      passed.push(name, value);
    } else if (use === 'id') passed.push('x-provider-request-id', value);
    else passed.push(name, value);
  }
  const isEventStream = !coded && contentType.startsWith('text/event-stream');
  return {
    status,
    contentType,
    isJson: !coded && contentType.startsWith('application/json'),
    isEventStream,
    contentLength,
    passed,
  };
}
