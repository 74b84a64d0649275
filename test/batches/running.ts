// What tests of batches share: lines, uploads, waiting for the end, and the lines of output and error files.

import type OpenAI from 'openai';
import { toFile } from 'openai';
import type { Batch, BatchCreateParams } from 'openai/resources/batches';
import { z } from 'zod';

export const chatLine = (n: number, body: object = {}, url = '/v1/chat/completions') => ({
  custom_id: `line-${n}`,
  method: 'POST',
  url,
  body: { model: 'm-1', messages: [{ role: 'user', content: `question ${n}` }], ...body },
});

export async function uploadLines(client: OpenAI, lines: readonly unknown[]): Promise<string> {
  const text = lines.map((line) => (typeof line === 'string' ? line : JSON.stringify(line))).join('\n');
  const file = await client.files.create({
    file: await toFile(Buffer.from(`${text}\n`), 'in.jsonl'),
    purpose: 'batch',
  });
  return file.id;
}

export async function startBatch(
  client: OpenAI,
  lines: readonly unknown[],
  more: Partial<BatchCreateParams> = {},
): Promise<Batch> {
  return await client.batches.create({
    input_file_id: await uploadLines(client, lines),
    endpoint: '/v1/chat/completions',
    completion_window: '24h',
    ...more,
  });
}

const OVER: readonly string[] = ['completed', 'failed', 'expired', 'cancelled'];

export async function ended(client: OpenAI, { id }: Pick<Batch, 'id'>): Promise<Batch> {
  for (;;) {
    const batch = await client.batches.retrieve(id);
    if (OVER.includes(batch.status)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

const Line = z.strictObject({
  id: z.string().regex(/^batch_req_/),
  custom_id: z.string(),
  response: z
    .strictObject({ status_code: z.int(), request_id: z.string().regex(/^req_/), body: z.looseObject({}) })
    .nullable(),
  error: z.strictObject({ code: z.string(), message: z.string() }).nullable(),
});

/** The lines of an output or error file; none where there is no file. */
export async function linesIn(client: OpenAI, fileId: string | null | undefined) {
  if (!fileId) return [];
  const text = await (await client.files.content(fileId)).text();
  return text
    .trimEnd()
    .split('\n')
    .map((line) => Line.parse(JSON.parse(line)));
}
