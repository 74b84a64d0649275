// What was said in a call, read from its bytes: a JSON body as its value, a stream as the texts that its pieces make.
// A secret may come in a stream a few characters at a time, and is only known for one when it is put together.

/** A body that is JSON, as a value; cut or otherwise broken, as its text. */
export function bodyOf(bytes: Buffer): unknown {
  const text = bytes.toString('utf8');
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

/** The texts of a stream of server-sent events (WHATWG HTML, section 9.2), each by where it belongs. */
export function streamOf(bytes: Buffer): Readonly<Record<string, string>> {
  const texts = new Map<string, string>();
  for (const line of bytes.toString('utf8').split(/\r\n|\n|\r/)) {
    if (!line.startsWith('data:')) continue;
    const event = object(bodyOf(Buffer.from(line.slice('data:'.length).trim())));
    if (event !== null) gatherEvent(texts, event);
  }
  return Object.fromEntries(texts);
}

type Json = Readonly<Record<string, unknown>>;

function gatherEvent(texts: Map<string, string>, event: Json): void {
  if (Array.isArray(event['choices'])) return gather(texts, 'choices', event['choices']);
  if (typeof event['delta'] === 'string') {
    const { type, output_index: output = 0, content_index: content = 0 } = event;
    return add(
      texts,
      `${String(type).replace(/\.delta$/, '')}.${String(output)}.${String(content)}`,
      event['delta'],
    );
  }
  if (event['error'] !== undefined) gather(texts, 'error', event['error']);
}

/** Members that say what a piece is, not what is in it. */
const PLAIN: ReadonlySet<string> = new Set(['role', 'type', 'object', 'finish_reason', 'id']);

function gather(texts: Map<string, string>, path: string, value: unknown): void {
  if (typeof value === 'string') return add(texts, path, value);
  if (Array.isArray(value)) {
    for (const [at, item] of value.entries())
      gather(texts, `${path}.${String(object(item)?.['index'] ?? at)}`, item);
    return;
  }
  for (const [name, member] of Object.entries(object(value) ?? {})) {
    if (!PLAIN.has(name)) gather(texts, `${path}.${name}`, member);
  }
}

function add(texts: Map<string, string>, path: string, piece: string): void {
  texts.set(path, (texts.get(path) ?? '') + piece);
}

function object(value: unknown): Json | null {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Json) : null;
}
