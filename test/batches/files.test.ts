// Files by the official client: what goes in comes out, byte for byte, and belongs to its project alone.

import { randomBytes } from 'node:crypto';
import OpenAI, { BadRequestError, NotFoundError, PermissionDeniedError, toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startTestServer, type TestServer } from '../harness/server.ts';

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer({
    change: (config) => ({ ...config, bounds: { ...config.bounds, uploadBytes: 4 << 20 } }),
  });
});
afterAll(async () => {
  await server.stop();
  server.remove();
});

const clientOf = (apiKey: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 });

/** A key of another project of the same organization. */
async function strangersKey(): Promise<string> {
  const made = await server.admin('POST', '/v1/organization/projects', { name: 'other' });
  const key = await server.admin('POST', `/v1/keygate/projects/${made.body['id']}/api_keys`, { name: 'k' });
  return String(key.body['value']);
}

describe('client.files', () => {
  test('gives back what was uploaded, byte for byte, with its facts', async () => {
    const bytes = randomBytes(3 * 1024 * 1024 + 17);
    const file = await server.client.files.create({
      file: await toFile(bytes, 'pictures/a b.bin'),
      purpose: 'user_data',
    });
    expect(file).toMatchObject({
      object: 'file',
      bytes: bytes.length,
      filename: 'a b.bin',
      purpose: 'user_data',
      status: 'processed',
      expires_at: null,
    });
    expect(file.id).toMatch(/^file-/);
    expect(await server.client.files.retrieve(file.id)).toEqual(file);
    const content = await server.client.files.content(file.id);
    expect(Buffer.from(await content.arrayBuffer()).equals(bytes)).toBe(true);
    expect(content.headers.get('content-disposition')).toBe("attachment; filename*=UTF-8''a%20b.bin");
    expect(await server.client.files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
    await expect(server.client.files.retrieve(file.id)).rejects.toThrow(NotFoundError);
    await expect(server.client.files.content(file.id)).rejects.toThrow(NotFoundError);
  });

  test('an empty file is a file', async () => {
    const file = await server.client.files.create({
      file: await toFile(Buffer.alloc(0), 'e'),
      purpose: 'vision',
    });
    expect(file.bytes).toBe(0);
    expect(await (await server.client.files.content(file.id)).text()).toBe('');
    await server.client.files.delete(file.id);
  });

  test('lists by purpose, order and page', async () => {
    const made: string[] = [];
    for (let i = 0; i < 5; i++) {
      const file = await server.client.files.create({
        file: await toFile(Buffer.from(`${i}`), `${i}.txt`),
        purpose: 'evals',
      });
      made.push(file.id);
    }
    await server.client.files.create({ file: await toFile(Buffer.from('x'), 'x.txt'), purpose: 'vision' });
    const listed: string[] = [];
    for await (const file of server.client.files.list({ purpose: 'evals', order: 'asc', limit: 2 }))
      listed.push(file.id);
    expect(listed).toHaveLength(5);
    expect(new Set(listed)).toEqual(new Set(made));
    const newest = await server.client.files.list({ purpose: 'evals', limit: 1 });
    expect(newest.has_more).toBe(true);
    expect(newest.data[0]?.id).toBe(listed.at(-1));
  });

  test('files of batches expire after thirty days, others when they are told to', async () => {
    const file = await toFile(Buffer.from('{}\n'), 'in.jsonl');
    const batch = await server.client.files.create({ file, purpose: 'batch' });
    expect((batch.expires_at ?? 0) - batch.created_at).toBe(30 * 86_400);
    const soon = await server.client.files.create({
      file,
      purpose: 'user_data',
      expires_after: { anchor: 'created_at', seconds: 3600 },
    });
    expect((soon.expires_at ?? 0) - soon.created_at).toBe(3600);
  });

  test.each([
    [{ purpose: 'nonsense' as 'vision' }, 'purpose'],
    [{ purpose: 'batch' as const }, 'file'],
    [
      { purpose: 'vision' as const, expires_after: { anchor: 'created_at' as const, seconds: 5 } },
      'expires_after.seconds',
    ],
  ])('refuses %j, and names %s', async (body, param) => {
    const refused = await server.client.files
      .create({ file: await toFile(Buffer.from('x'), 'x.txt'), ...body })
      .catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BadRequestError);
    expect(refused).toMatchObject({ param });
  });

  test('refuses what is larger than the bound, and keeps nothing of it', async () => {
    const before = (await server.client.files.list()).data.length;
    const refused = await server.client.files
      .create({ file: await toFile(randomBytes((4 << 20) + 1), 'x'), purpose: 'vision' })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: 413, code: 'request_too_large' });
    expect((await server.client.files.list()).data).toHaveLength(before);
  });

  test('refuses what is no form, or has no file', async () => {
    const text = await server.request('/v1/files', { method: 'POST', body: '{}' });
    expect(text.status).toBe(415);
    const form = new FormData();
    form.set('purpose', 'vision');
    const none = await server.request('/v1/files', { method: 'POST', body: form });
    expect(none.status).toBe(400);
    expect(await none.json()).toMatchObject({ error: { param: 'file' } });
    const cut = await server.request('/v1/files', {
      method: 'POST',
      headers: { 'content-type': 'multipart/form-data; boundary=x' },
      body: '--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nno end',
    });
    expect(cut.status).toBe(400);
  });

  test('another project reaches none of them, by no operation', async () => {
    const file = await server.client.files.create({
      file: await toFile(Buffer.from('secret'), 's.txt'),
      purpose: 'user_data',
    });
    const stranger = clientOf(await strangersKey());
    await expect(stranger.files.retrieve(file.id)).rejects.toThrow(NotFoundError);
    await expect(stranger.files.content(file.id)).rejects.toThrow(NotFoundError);
    await expect(stranger.files.delete(file.id)).rejects.toThrow(NotFoundError);
    await expect(stranger.files.list({ after: file.id })).rejects.toThrow(BadRequestError);
    expect((await stranger.files.list()).data).toEqual([]);
    expect(await (await server.client.files.content(file.id)).text()).toBe('secret');
  });

  test('asks for the scope of reading or writing', async () => {
    const reader = clientOf((await server.createKey({ name: 'r', scopes: ['api.files.read'] })).value);
    await reader.files.list();
    await expect(
      reader.files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'vision' }),
    ).rejects.toThrow(PermissionDeniedError);
  });

  test('a project that keeps nothing may keep no file', async () => {
    const made = await server.admin('POST', '/v1/organization/projects', { name: 'zero' });
    const key = await server.admin('POST', `/v1/keygate/projects/${made.body['id']}/api_keys`, { name: 'k' });
    const set = await server.admin('POST', `/v1/organization/projects/${made.body['id']}/data_retention`, {
      retention_type: 'zero_data_retention',
    });
    expect(set.status).toBe(200);
    const refused = await clientOf(String(key.body['value']))
      .files.create({ file: await toFile(Buffer.from('x'), 'x'), purpose: 'vision' })
      .catch((error: unknown) => error);
    expect(refused).toMatchObject({ status: expect.any(Number) });
    expect(String(refused)).toMatch(/keep|retention/i);
  });
});

describe('client.uploads', () => {
  test('joins parts in the order that is named', async () => {
    const upload = await server.client.uploads.create({
      bytes: 9,
      filename: 'joined.txt',
      mime_type: 'text/plain',
      purpose: 'user_data',
    });
    expect(upload.status).toBe('pending');
    const parts: string[] = [];
    for (const text of ['def', 'abc', 'ghi'])
      parts.push(
        (await server.client.uploads.parts.create(upload.id, { data: await toFile(Buffer.from(text), 'p') }))
          .id,
      );
    const [d = '', a = '', g = ''] = parts;
    await expect(server.client.uploads.complete(upload.id, { part_ids: [a, d] })).rejects.toThrow(
      BadRequestError,
    );
    const done = await server.client.uploads.complete(upload.id, { part_ids: [a, d, g] });
    expect(done.status).toBe('completed');
    const file = done.file;
    expect(file).toMatchObject({ bytes: 9, filename: 'joined.txt', purpose: 'user_data' });
    expect(await (await server.client.files.content(file?.id ?? '')).text()).toBe('abcdefghi');
    await expect(server.client.uploads.cancel(upload.id)).rejects.toThrow(BadRequestError);
  });

  test('a cancelled one takes nothing more', async () => {
    const upload = await server.client.uploads.create({
      bytes: 1,
      filename: 'x',
      mime_type: '',
      purpose: 'vision',
    });
    expect((await server.client.uploads.cancel(upload.id)).status).toBe('cancelled');
    await expect(
      server.client.uploads.parts.create(upload.id, { data: await toFile(Buffer.from('x'), 'p') }),
    ).rejects.toThrow(BadRequestError);
  });
});
