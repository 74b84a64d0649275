// `kill -9` while a batch runs, again and again: every line is delivered once and charged once, and what is charged is what
// was delivered.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { mintKey } from '../../src/keys/format.ts';
import { readSegment } from '../../src/spend/segment/read.ts';
import { chatLine, ended, linesIn, startBatch } from '../batches/running.ts';
import { completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';
import { type StorePlace, stores } from '../store/stores.ts';

const LINES = 240;
const adminKey = mintKey('admin');

interface Running {
  readonly url: string;
  kill(): Promise<void>;
}

async function startServer(config: string, place: StorePlace, node: string): Promise<Running> {
  const command = fileURLToPath(new URL('../../src/cli/keygate.ts', import.meta.url));
  const database = place.databaseUrl === null ? {} : { KEYGATE_DATABASE_URL: place.databaseUrl.reveal() };
  const child = spawn(
    process.execPath,
    [
      command,
      'serve',
      '--port',
      '0',
      '--data',
      join(place.dataDir, place.databaseUrl === null ? 'd' : node),
      '--config',
      config,
      '--node',
      node,
    ],
    {
      env: {
        PATH: process.env['PATH'] ?? '',
        KEYGATE_BOOTSTRAP_ADMIN_KEY: adminKey,
        KEYGATE_ENGINE: '1',
        KEYGATE_ROOT_KEY: ROOT_KEY,
        ...database,
      },
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  );
  const url = await listening(child);
  return {
    url,
    kill: () =>
      new Promise((resolve) => {
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  };
}

const ROOT_KEY = randomBytes(32).toString('base64');

function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let log = '';
    child.stderr?.on('data', (data: Buffer) => {
      log += data.toString();
      const url = /"url":"([^"]+)"/.exec(log)?.[1];
      if (url !== undefined) resolve(url);
    });
    child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${log}`)));
  });
}

async function projectKey(url: string): Promise<string> {
  const headers = { authorization: `Bearer ${adminKey}`, 'content-type': 'application/json' };
  const listed = await fetch(`${url}/v1/organization/projects`, { headers });
  const projects = z.object({ data: z.array(z.object({ id: z.string() })) }).parse(await listed.json());
  const made = await fetch(`${url}/v1/keygate/projects/${projects.data[0]?.id}/api_keys`, {
    method: 'POST',
    headers,
    body: JSON.stringify({ name: 'batch' }),
  });
  return z.object({ value: z.string() }).parse(await made.json()).value;
}

const clientOf = ({ url }: Running, apiKey: string) =>
  new OpenAI({ baseURL: `${url}/v1`, apiKey, maxRetries: 2 });

describe.each(stores)('a batch under kill -9 on $kind', ({ kind, fresh }) => {
  let place: StorePlace;
  let upstream: Upstream;
  let config: string;
  beforeAll(async () => {
    place = await fresh();
    upstream = await startUpstream((_asked, response) => {
      setTimeout(() => sendJson(response, 200, completion('x')), 30);
    });
    const folder = mkdtempSync(join(tmpdir(), 'keygate-batch-kill-'));
    config = join(folder, 'keygate.yaml');
    writeFileSync(
      config,
      `providers: {mock: {base_url: "${upstream.url}", credential: none, allow_private: true, models: ["*"]}}\nspend: {account: postpaid}\n`,
    );
  });
  afterAll(async () => {
    await upstream.close();
    rmSync(join(config, '..'), { recursive: true, force: true });
    await place.remove();
  });

  test('delivers and charges every line once', async () => {
    let server = await startServer(config, place, 'first');
    const key = await projectKey(server.url);
    const batch = await startBatch(
      clientOf(server, key),
      Array.from({ length: LINES }, (_, n) => chatLine(n)),
    );
    // On PostgreSQL another node goes on when the lease is over, which takes its time: fewer rounds.
    const rounds = kind === 'sqlite' ? 6 : 1;
    for (let round = 1; round <= rounds; round++) {
      const goal = (LINES / (rounds + 2)) * round;
      const client = clientOf(server, key);
      for (let done = 0; done < goal; )
        done = (await client.batches.retrieve(batch.id)).request_counts?.completed ?? 0;
      const next = kind === 'sqlite' ? null : await startServer(config, place, 'second');
      await server.kill();
      server = next ?? (await startServer(config, place, 'first'));
    }
    const client = clientOf(server, key);
    const done = await ended(client, batch);
    const lines = await linesIn(client, done.output_file_id);
    await server.kill();
    expect(done).toMatchObject({
      status: 'completed',
      request_counts: { total: LINES, completed: LINES, failed: 0 },
    });
    expect(lines.map(({ custom_id }) => custom_id)).toEqual(
      Array.from({ length: LINES }, (_, n) => `line-${n}`),
    );
    expect(done.usage).toMatchObject({ input_tokens: 7 * LINES, output_tokens: 3 * LINES });
    // Lines that were under way were sent again, and only those.
    expect(upstream.asked.filter(({ method }) => method === 'POST').length).toBeLessThan(LINES + rounds * 80);
    const events = await eventsIn(place, kind);
    expect(events.map(({ requestId }) => requestId).sort()).toEqual(
      lines.map(({ response }) => response?.request_id).sort(),
    );
  }, 180_000);
});

async function eventsIn(place: StorePlace, kind: string) {
  const { openStore } = await import('../../src/store/open.ts');
  const { systemClock } = await import('../../src/platform/clock.ts');
  const store = await openStore({
    dataDir: kind === 'sqlite' ? join(place.dataDir, 'd') : place.dataDir,
    databaseUrl: place.databaseUrl,
    clock: systemClock,
    onError: () => {},
  });
  try {
    const segments = await store.db.selectFrom('usage_segments').selectAll().orderBy('seq').execute();
    return segments.flatMap(readSegment).filter(({ batch }) => batch);
  } finally {
    await store.close();
  }
}
