// The data of server-sent events, one by one (WHATWG HTML, "Server-sent events"), as far as the API uses them.

const LONGEST_LINE = 16 * 1024 * 1024;

/** The `data` of each event; several data lines of one event are joined by line breaks. */
export async function* eventData(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let data: string[] = [];
  for await (const line of lines(stream)) {
    if (line === '') {
      if (data.length > 0) yield data.join('\n');
      data = [];
    } else if (line.startsWith('data:')) {
      data.push(line.slice(line.startsWith('data: ') ? 6 : 5));
    }
  }
}

/** Lines that were ended by CR LF, LF or CR. An unended rest is no line. */
async function* lines(stream: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const bytes of stream) {
    rest += decoder.decode(bytes, { stream: true });
    // A CR at the very end may be the first half of CR LF: it waits.
    const complete = rest.split(/\r\n|\n|\r(?!$)/);
    rest = complete.pop() ?? '';
    if (rest.length > LONGEST_LINE) throw new Error('an event is too long');
    yield* complete;
  }
}
