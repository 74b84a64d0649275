// The prompt log of a whole server: off by default, readable when on, without secrets, bounded, and never of a project
// whose data retention says otherwise.

import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';
import { PromptFiles } from '../../src/prompts/files.ts';
import { oneProvider, startTestServer, type TestServer } from '../harness/server.ts';
import { chatEvents, completion, sendJson, startUpstream, type Upstream } from '../harness/upstream.ts';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function run(logging: string): Promise<{ server: TestServer; upstream: Upstream }> {
  const upstream = await startUpstream();
  cleanups.push(() => upstream.close());
  const server = await startTestServer({
    yaml: oneProvider(upstream.url, logging),
    env: { KEYGATE_CONFIG: 'keygate.yaml' },
  });
  cleanups.push(async () => {
    await server.stop();
    server.remove();
  });
  return { server, upstream };
}

function lines(server: TestServer): Record<string, unknown>[] {
  const folder = join(server.dataDir, 'prompts');
  return (
    readdirSync(folder)
      .sort()
      .flatMap((name) => readFileSync(join(folder, name), 'utf8').trim().split('\n'))
      .map((line) => JSON.parse(line) as Record<string, unknown>)
      // A line is written when its call has ended.
      .sort((a, b) => String(a['time']).localeCompare(String(b['time'])))
  );
}

describe('the prompt log', () => {
  it('is off until somebody turns it on', async () => {
    const { server } = await run('');
    await server.client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content: 'hi' }] });
    await server.stop();
    expect(readdirSync(server.dataDir)).not.toContain('prompts');
  });

  it('has what was asked and answered, streams put together, secrets struck out', async () => {
    const { server, upstream } = await run('logging: {prompts: on}\n');
    const key = mintKey('project');
    upstream.answer = (_asked, response) => sendJson(response, 200, completion(`the key is ${key}`));
    const messages = [{ role: 'user' as const, content: `my key is ${key}, and ada@example.com` }];
    await server.client.chat.completions.create({ model: 'm', messages });
    upstream.answer = (_asked, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.end(chatEvents(['one ', ...key.slice(0, 30), ...key.slice(30)], false).join(''));
    };
    for await (const _ of await server.client.chat.completions.create({
      model: 'm',
      messages,
      stream: true,
    }));
    upstream.answer = (_asked, response) => sendJson(response, 400, { error: { message: 'no such thing' } });
    await server.client.chat.completions.create({ model: 'm', messages }).catch(() => {});
    upstream.answer = (_asked, response) =>
      response.writeHead(200, { 'content-type': 'audio/mpeg' }).end('sound');
    await server.client.audio.speech.create({ model: 'm', voice: 'alloy', input: 'say it' });
    await server.stop();

    const logged = lines(server);
    expect(logged).toHaveLength(4);
    expect(logged[0]).toMatchObject({
      project_id: server.projectId,
      operation: 'chat.completions.create',
      model: 'm',
      status: 200,
      outcome: 'ok',
      request: {
        model: 'm',
        messages: [{ role: 'user', content: 'my key is [redacted], and ada@example.com' }],
      },
      reply: { choices: [{ message: { content: 'the key is [redacted]' } }] },
    });
    expect(logged[0]?.['request_id']).toMatch(/^req_/);
    expect(logged[1]?.['reply']).toEqual({ 'choices.0.delta.content': 'one [redacted]' });
    expect(logged[2]).toMatchObject({ status: 400, reply: { error: { message: 'no such thing' } } });
    expect(logged[3]).toMatchObject({
      operation: 'audio.speech.create',
      request: { input: 'say it' },
      reply: null,
    });
    expect(JSON.stringify(logged)).not.toContain(key.slice(10, 40));
    const folder = join(server.dataDir, 'prompts');
    expect(statSync(folder).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(folder)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  });

  it('is never of a project whose retention says otherwise, from the call after it was set', async () => {
    const { server } = await run('logging: {prompts: on, prompts_redact: personal}\n');
    const say = (content: string) =>
      server.client.chat.completions.create({ model: 'm', messages: [{ role: 'user', content }] });
    const path = `/v1/organization/projects/${server.projectId}/data_retention`;
    await say('before, to ada@example.com');
    for (const retention_type of [
      'zero_data_retention',
      'modified_abuse_monitoring',
      'enhanced_zero_data_retention',
      'enhanced_modified_abuse_monitoring',
    ]) {
      expect((await server.admin('POST', path, { retention_type })).status).toBe(200);
      await say(retention_type);
    }
    await server.admin('POST', path, { retention_type: 'none' });
    await say('after');
    await server.stop();
    expect(lines(server).map(({ request }) => Object(request).messages[0].content)).toEqual([
      'before, to [redacted]',
      'after',
    ]);
  });
});

describe('the files of the prompt log', () => {
  const folder = () => {
    const made = mkdtempSync(join(tmpdir(), 'keygate-prompts-'));
    cleanups.push(() => rmSync(made, { recursive: true, force: true }));
    return made;
  };
  const names = (at: string) => readdirSync(at).sort();

  it('stay within their size, the newest kept, also over restarts', () => {
    const at = folder();
    const line = `${'x'.repeat(999)}\n`;
    let last = '';
    for (let run = 0; run < 3; run++) {
      const files = new PromptFiles(at, 'node/1', { bytes: 160_000, ms: 1e12 });
      for (let n = 0; n < 200; n++) {
        last = `${run} ${n} ${line}`;
        files.append(last, 1_700_000_000_000 + run * 1000 + n);
      }
      const bytes = names(at).reduce((sum, name) => sum + statSync(join(at, name)).size, 0);
      expect(bytes).toBeLessThanOrEqual(165_000);
      expect(bytes).toBeGreaterThan(120_000);
    }
    expect(readFileSync(join(at, names(at).at(-1) ?? ''), 'utf8').endsWith(last)).toBe(true);
  });

  it('go when they are too old, and others’ files in the folder stay', () => {
    const at = folder();
    const day = 86_400_000;
    const files = new PromptFiles(at, 'n', { bytes: 1e9, ms: 30 * day });
    for (let n = 0; n < 100; n++) files.append('line\n', n * day);
    const kept = names(at).map((name) => Number(/\d{13}/.exec(name)?.[0]) / day);
    expect(Math.min(...kept)).toBeGreaterThanOrEqual(99 - 34);
    expect(Math.min(...kept)).toBeLessThanOrEqual(69);
    expect(kept.at(-1)).toBeGreaterThanOrEqual(97);
  });
});
