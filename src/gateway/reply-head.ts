// Reads the head of a provider's answer, and says which of its headers a caller may see: a few that describe the
// body or the retry. The provider's cookies, limits, organization and server names are its own and stay behind.

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

type Use = 'type' | 'length' | 'id' | 'pass';

const USES: ReadonlyMap<string, Use> = new Map([
  ['content-type', 'type'],
  ['content-length', 'length'],
  ['x-request-id', 'id'],
  ['content-disposition', 'pass'],
  ['content-language', 'pass'],
  ['retry-after', 'pass'],
  ['retry-after-ms', 'pass'],
  ['x-should-retry', 'pass'],
  ['x-sandbox-model', 'pass'],
]);
const LONGEST_NAME = 19;

/** @param raw name, value, name, value, as they came */
export function readReplyHead(status: number, raw: readonly Buffer[]): ReplyHead {
  const passed: string[] = [];
  let contentType = '';
  let contentLength = -1;
  for (let i = 0; i + 1 < raw.length; i += 2) {
    const name = raw[i];
    const value = raw[i + 1];
    if (name === undefined || value === undefined || name.length > LONGEST_NAME) continue;
    const lower = name.toString('latin1').toLowerCase();
    const use = USES.get(lower);
    if (use === undefined) continue;
    const text = value.toString('latin1');
    if (use === 'type') contentType = text;
    else if (use === 'length') contentLength = Number(text);
    else if (use === 'id') passed.push('x-provider-request-id', text);
    else passed.push(lower, text);
  }
  const isEventStream = contentType.startsWith('text/event-stream');
  return {
    status,
    contentType,
    isJson: contentType.startsWith('application/json'),
    isEventStream,
    contentLength,
    passed,
  };
}
