// Bodies for a fuzz run, made from the schemas of the served description: some that fit, most that nearly do. A body
// that fits but for one place gets further into the server than noise does.

import fc from 'fast-check';
import { z } from 'zod';

export const Schema = z.looseObject({
  $ref: z.string().optional(),
  type: z.union([z.string(), z.string().array()]).optional(),
  enum: z.unknown().array().optional(),
  const: z.unknown().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.string().array().optional(),
  items: z.unknown().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  anyOf: z.unknown().array().optional(),
  oneOf: z.unknown().array().optional(),
  allOf: z.unknown().array().optional(),
});

export type Schemas = Readonly<Record<string, unknown>>;

const DEPTH_MAX = 8;

/** What somebody might put in the place of a value: other types, edges, and texts that mean something to a parser. */
export const hostile: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    -1,
    0,
    0.5,
    2 ** 53,
    -(2 ** 63),
    1e308,
    '',
    ' ',
    '\u0000',
    '\ud800',
    '💥'.repeat(300),
    "'; drop table api_keys; --",
    '{{7*7}}%s%n',
    '../../../../etc/passwd',
    'http://127.0.0.1:1/',
    'file:///etc/passwd',
    'x'.repeat(20_000),
    [],
    {},
    [[[[[[[[[[]]]]]]]]]],
    { constructor: { prototype: {} } },
    JSON.parse('{"__proto__": {"admin": true}}'),
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

/** A value of this schema, or one that a wrong turn was taken in. */
export function fitting(raw: unknown, schemas: Schemas, depth = 0): fc.Arbitrary<unknown> {
  const right = rightly(raw, schemas, depth);
  return fc.oneof({ arbitrary: right, weight: 12 }, { arbitrary: hostile, weight: 1 });
}

function rightly(raw: unknown, schemas: Schemas, depth: number): fc.Arbitrary<unknown> {
  const parsed = Schema.safeParse(raw);
  if (!parsed.success || depth > DEPTH_MAX) return hostile;
  const schema = parsed.data;
  if (schema.$ref !== undefined) {
    return fitting(schemas[schema.$ref.replace('#/components/schemas/', '')], schemas, depth + 1);
  }
  if (schema.const !== undefined) return fc.constant(schema.const);
  if (schema.enum !== undefined && schema.enum.length > 0) return fc.constantFrom(...schema.enum);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined && choices.length > 0) {
    return fc.oneof(...choices.map((choice) => fitting(choice, schemas, depth + 1)));
  }
  if (schema.allOf !== undefined && schema.allOf.length > 0)
    return fitting(schema.allOf[0], schemas, depth + 1);
  const [type = 'object'] = [schema.type].flat().filter((name) => name !== 'null');
  switch (type) {
    case 'string':
      return fc.oneof(
        fc.string({ minLength: schema.minLength ?? 0, maxLength: Math.min(schema.maxLength ?? 40, 40) }),
        fc.constantFrom('a name', 'USD', 'month', '2026-01-01', 'someone@example.com', 'proj_x'),
      );
    case 'integer':
    case 'number':
      return fc.integer({ min: within(schema.minimum ?? 0), max: within(schema.maximum ?? 1_000_000) });
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(fitting(schema.items, schemas, depth + 1), { maxLength: 4 });
    default:
      return objectOf(schema, schemas, depth);
  }
}

function within(bound: number): number {
  return Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(bound)));
}

function objectOf(schema: z.infer<typeof Schema>, schemas: Schemas, depth: number): fc.Arbitrary<unknown> {
  const members = Object.fromEntries(
    Object.entries(schema.properties ?? {}).map(([name, of]) => [name, fitting(of, schemas, depth + 1)]),
  );
  const required = (schema.required ?? []).filter((name) => name in members);
  const fits = fc.record(members, { requiredKeys: required });
  const lacks = fc.record(members, { requiredKeys: [] });
  const exceeds = fc
    .tuple(fits, fc.string({ minLength: 1, maxLength: 12 }), hostile)
    .map(([object, name, value]) => ({ ...object, [name]: value }));
  return fc.oneof(
    { arbitrary: fits, weight: 6 },
    { arbitrary: lacks, weight: 1 },
    { arbitrary: exceeds, weight: 1 },
  );
}

/** Texts that are not JSON, or only just. */
export const brokenText: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom(
    '',
    '{',
    '{"a":',
    'null',
    '[]',
    '"text"',
    '42',
    'undefined',
    '{"a":1,"a":2}',
    '\u0000',
    '\ufeff{}',
    `${'['.repeat(50_000)}`,
    `{"a":${'{"a":'.repeat(5_000)}1${'}'.repeat(5_000)}}`,
    '{"name":"\\ud800"}',
    '{"n":1e999}',
  ),
  fc.string({ maxLength: 60 }),
);
