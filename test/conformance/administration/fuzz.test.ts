// Thousands of wrong and hostile requests at every operation of the served description, on a whole server: each is
// answered, in time, in the API's shape; none is a fault of the server's; and what is refused for its body names the
// field. KEYGATE_FUZZ_RUNS sets how many requests an operation gets.

import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { z } from 'zod';
import { startTestServer, type TestServer } from '../../harness/server.ts';
import { brokenText, fitting, hostile, type Schemas } from './bodies.ts';

const RUNS = Number(process.env['KEYGATE_FUZZ_RUNS'] ?? 24);
/** An answer that takes longer counts as a hang, in milliseconds. */
const HANG_MS = 10_000;

const Parameter = z.looseObject({ name: z.string(), in: z.string(), schema: z.unknown() });
const Operation = z.looseObject({
  parameters: Parameter.array().default([]),
  requestBody: z
    .looseObject({ content: z.record(z.string(), z.looseObject({ schema: z.unknown() })) })
    .optional(),
});
const Description = z.looseObject({
  paths: z.record(z.string(), z.record(z.string(), Operation)),
  components: z.looseObject({ schemas: z.record(z.string(), z.unknown()).default({}) }),
});
const Refusal = z.strictObject({
  error: z.strictObject({
    message: z.string().min(1),
    type: z.string(),
    param: z.string().nullable(),
    code: z.string().nullable(),
  }),
});

interface Shot {
  readonly method: string;
  readonly path: string;
  readonly body: string | null;
  /** Whether the body is a JSON object, so that a refusal of it can name a field. */
  readonly isObject: boolean;
}

let server: TestServer;
let description: z.infer<typeof Description>;
let ids: readonly string[];

beforeAll(async () => {
  server = await startTestServer();
  const reply = await fetch(`${server.adminUrl}/v1/keygate/openapi.json`);
  description = Description.parse(await reply.json());
  ids = await seeds();
});

afterAll(async () => {
  await server?.stop();
  server?.remove();
});

/** Ids of objects that are there, so that requests get past "not found". Not those that this test itself lives by. */
async function seeds(): Promise<string[]> {
  const organization = '/v1/organization';
  const { body: project } = await server.admin('POST', `${organization}/projects`, { name: 'Fuzzed' });
  const at = `${organization}/projects/${String(project['id'])}`;
  const made = [
    await server.admin('POST', `${at}/service_accounts`, { name: 'bot' }),
    await server.admin('POST', `${organization}/admin_api_keys`, { name: 'spare' }),
    await server.admin('POST', `${organization}/groups`, { name: 'team' }),
    await server.admin('POST', `${organization}/roles`, { role_name: 'part', permissions: [] }),
    await server.admin('POST', `${organization}/invites`, { email: 'a@example.com', role: 'reader' }),
  ];
  return [project, ...made.map(({ body }) => body)].flatMap(({ id }) => (typeof id === 'string' ? [id] : []));
}

function shots(method: string, template: string, operation: z.infer<typeof Operation>): fc.Arbitrary<Shot> {
  const schemas: Schemas = description.components.schemas;
  const segment = fc.oneof(
    { arbitrary: fc.constantFrom(...ids), weight: 8 },
    {
      arbitrary: fc.constantFrom('x', '..%2f..', '%00', '%F0%9F%92%A5', 'a'.repeat(2_000), '-1', "'--", '%'),
      weight: 1,
    },
    { arbitrary: fc.string({ minLength: 1, maxLength: 20 }).map(wellEncoded), weight: 1 },
  );
  const names = [...template.matchAll(/\{([^}]+)\}/g)];
  const path = fc.tuple(...names.map(() => segment)).map((given) => {
    let at = 0;
    return template.replaceAll(/\{[^}]+\}/g, () => given[at++] ?? 'x');
  });
  const query = fc.record(
    Object.fromEntries(
      operation.parameters
        .filter((parameter) => parameter.in === 'query')
        .map(({ name, schema }) => [name, fitting(schema, schemas)]),
    ),
    { requiredKeys: [] },
  );
  const schema = operation.requestBody?.content['application/json']?.schema;
  const body = schema === undefined ? fc.constant(null) : bodies(schema, schemas);
  return fc.tuple(path, query, body).map(([at, asked, sent]) => {
    const parameters = Object.entries(asked).map(
      ([name, value]) => `${wellEncoded(name)}=${wellEncoded(value)}`,
    );
    const text = sent === null || typeof sent === 'string' ? sent : sent.text;
    return {
      method,
      path: parameters.length === 0 ? at : `${at}?${parameters.join('&')}`,
      body: text,
      isObject: sent !== null && typeof sent !== 'string' && sent.isObject,
    };
  });
}

function bodies(
  schema: unknown,
  schemas: Schemas,
): fc.Arbitrary<string | { text: string; isObject: boolean }> {
  const written = (value: unknown) => ({
    text: JSON.stringify(value),
    isObject: typeof value === 'object' && value !== null && !Array.isArray(value),
  });
  return fc.oneof(
    { arbitrary: fitting(schema, schemas).map(written), weight: 8 },
    { arbitrary: hostile.map(written), weight: 1 },
    { arbitrary: brokenText, weight: 1 },
  );
}

function wellEncoded(value: unknown): string {
  return encodeURIComponent(String(typeof value === 'object' ? JSON.stringify(value) : value).toWellFormed());
}

/** What is wrong with the answer; null: nothing. */
async function fire(shot: Shot): Promise<string | null> {
  let reply: Response;
  let text: string;
  try {
    reply = await fetch(server.adminUrl + shot.path, {
      method: shot.method,
      headers: { authorization: `Bearer ${server.adminKey}`, 'content-type': 'application/json' },
      body: shot.body,
      signal: AbortSignal.timeout(HANG_MS),
    });
    text = await reply.text();
  } catch (error) {
    return `no answer (${String(error)})`;
  }
  if (reply.status < 300) return null;
  if (reply.status >= 500) return `${reply.status} ${text.slice(0, 200)}`;
  if (reply.status === 401) return 'the key of this test is gone';
  const refusal = Refusal.safeParse(JSON.parse(text));
  if (!refusal.success) return `${reply.status} in another shape: ${text.slice(0, 200)}`;
  const { param, code } = refusal.data.error;
  const isForm = code !== null && /invalid_type|missing_required|unknown_parameter|invalid_value/.test(code);
  if (reply.status === 400 && shot.isObject && isForm && param === null)
    return `400 names no field: ${text.slice(0, 200)}`;
  return null;
}

it('no request is a fault of the server’s, or hangs', { timeout: 300_000 }, async () => {
  const wrong = new Map<string, string>();
  let fired = 0;
  for (const [template, operations] of Object.entries(description.paths)) {
    for (const [verb, operation] of Object.entries(operations)) {
      const method = verb.toUpperCase();
      for (const shot of fc.sample(shots(method, template, operation), RUNS)) {
        fired += 1;
        const problem = await fire(shot);
        if (problem !== null)
          wrong.set(`${method} ${template}`, `${problem}\n  ${JSON.stringify(shot).slice(0, 600)}`);
      }
    }
  }
  expect([...wrong].map(([operation, problem]) => `${operation}: ${problem}`)).toEqual([]);
  expect(fired).toBeGreaterThan(1_000);
  const faults = server.log.filter((line) => line.includes('"level":"error"'));
  expect(faults).toEqual([]);
});
