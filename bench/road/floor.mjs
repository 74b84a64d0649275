// What Node can do here: node:http and undici's dispatch with nothing between them. No keys, no limits, no meter:
// the line in the table beside which the price of those can be read.
//
//   node floor.mjs PORT PROVIDER_PORT

import { createServer } from 'node:http';
import { Pool } from 'undici';

const [port, provider] = process.argv.slice(2).map(Number);
const pool = new Pool(`http://127.0.0.1:${provider}`, { connections: 1024, pipelining: 1 });

/** Headers of one hop (RFC 9110, section 7.6.1), which a proxy must not pass on, and those that it sets itself. */
const OWN = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'host',
  'content-length',
]);

/** One call: bytes go to the client as they come, a reply that comes whole goes out in one write. */
class Relay {
  constructor(res) {
    this.res = res;
    this.abort = undefined;
    this.first = undefined;
    this.whole = -1;
    this.resume = undefined;
  }

  onConnect(abort) {
    this.abort = abort;
  }

  onHeaders(status, raw, resume) {
    const headers = [];
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i].latin1Slice().toLowerCase();
      const value = raw[i + 1].latin1Slice();
      if (name === 'content-length') this.whole = Number(value);
      if (name === 'content-length' || !OWN.has(name)) headers.push(name, value);
    }
    this.resume = resume;
    this.res.writeHead(status, headers);
    return true;
  }

  onData(chunk) {
    if (this.whole === chunk.length) {
      this.first = chunk;
      return true;
    }
    if (this.res.write(chunk)) return true;
    this.res.once('drain', this.resume);
    return false;
  }

  onComplete() {
    this.res.end(this.first);
  }

  onError() {
    if (this.res.headersSent) this.res.destroy();
    else this.res.writeHead(502).end();
  }
}

const server = createServer({ keepAliveTimeout: 3_600_000 }, (req, res) => {
  const chunks = [];
  req.on('data', (chunk) => chunks.push(chunk));
  req.on('end', () => {
    const headers = [];
    const raw = req.rawHeaders;
    for (let i = 0; i < raw.length; i += 2) {
      if (!OWN.has(raw[i].toLowerCase())) headers.push(raw[i], raw[i + 1]);
    }
    const relay = new Relay(res);
    res.on('close', () => {
      if (!res.writableFinished) relay.abort?.();
    });
    const body = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);
    pool.dispatch({ method: req.method, path: req.url, headers, body }, relay);
  });
});
server.listen(port, '127.0.0.1');
