import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { SchemaFault, validValue } from '../../src/upstreams/sandbox/schema.ts';
import { strictFault } from '../../src/upstreams/sandbox/schema-strict.ts';

const prompt = { words: ['Paris', 'weather', 'tomorrow'], numbers: [3, 21.5] };
const valueFor = (schema: unknown, seed = 'seed') => validValue(schema, prompt, seed);

// An instance of our own, which the code under test does not share; formats by zod's.
const ajv = new Ajv2020({
  strict: false,
  formats: {
    'date-time': (text: string) => z.iso.datetime().safeParse(text).success,
    date: (text: string) => z.iso.date().safeParse(text).success,
    time: (text: string) => z.iso.time().safeParse(text.replace('Z', '')).success,
    duration: (text: string) => z.iso.duration().safeParse(text).success,
    email: (text: string) => z.email().safeParse(text).success,
    hostname: (text: string) => z.hostname().safeParse(text).success,
    ipv4: (text: string) => z.ipv4().safeParse(text).success,
    ipv6: (text: string) => z.ipv6().safeParse(text).success,
    uri: (text: string) => URL.canParse(text),
    uuid: (text: string) => z.uuid().safeParse(text).success,
  },
});

function expectValid(schema: object, value: unknown): void {
  ajv.removeSchema();
  const valid = ajv.validate(schema, JSON.parse(JSON.stringify(value)));
  expect(valid ? null : { schema, value, errors: ajv.errors }).toBeNull();
}

/** Constants that the checker can compare: fast-deep-equal, which Ajv uses, calls an object's own toString and valueOf. */
const constants = fc
  .jsonValue({ maxDepth: 1 })
  .filter((value) => !/"(?:toString|valueOf)":/.test(JSON.stringify(value)));

/** Schemas of bounded depth that something satisfies. */
const schemas = fc.letrec<{ any: object; leaf: object; object: object; array: object; union: object }>(
  (tie) => ({
    any: fc.oneof(
      { depthSize: 'small', withCrossShrink: true },
      tie('leaf'),
      tie('object'),
      tie('array'),
      tie('union'),
    ),
    leaf: fc.oneof(
      fc.constantFrom<object>(
        {},
        { type: 'boolean' },
        { type: 'null' },
        { type: ['string', 'null'] },
        { type: ['integer', 'boolean'] },
      ),
      fc.record(
        { type: fc.constant('string'), minLength: fc.nat(20), maxLength: fc.integer({ min: 20, max: 60 }) },
        { requiredKeys: ['type'] },
      ),
      fc.record({
        type: fc.constant('string'),
        format: fc.constantFrom(
          'date-time',
          'date',
          'time',
          'duration',
          'email',
          'hostname',
          'ipv4',
          'ipv6',
          'uuid',
          'uri',
        ),
      }),
      fc.record({
        type: fc.constant('string'),
        pattern: fc.constantFrom(
          '^[A-Z]{3}-\\d{2,4}$',
          '^(?:yes|no|maybe)+$',
          'a.c',
          '^[^@\\s]+@[\\w.-]+\\.[a-z]{2,}$',
          '^\\+?[1-9]\\d{1,14}$',
          '^#([0-9a-f]{3}){1,2}$',
          '\\p{Lu}\\p{Ll}+',
          '^(\\w)\\1$',
        ),
      }),
      fc
        .tuple(fc.constantFrom('integer', 'number'), fc.integer({ min: -1000, max: 1000 }), fc.nat(100))
        .map(([type, low, span]) => ({ type, minimum: low, maximum: low + span })),
      fc.tuple(fc.integer({ min: -50, max: 50 }), fc.integer({ min: 1, max: 9 })).map(([low, step]) => ({
        type: 'integer',
        exclusiveMinimum: low,
        exclusiveMaximum: low + 2 * step + 1,
        multipleOf: step,
      })),
      fc.array(constants, { minLength: 1, maxLength: 4 }).map((values) => ({ enum: values })),
      constants.map((value) => ({ const: value })),
    ),
    object: fc
      .record(
        {
          properties: fc.dictionary(
            fc.oneof(fc.string({ maxLength: 5 }), fc.constantFrom('constructor', 'toString', 'a/b~c')),
            tie('any'),
            { maxKeys: 4 },
          ),
          additionalProperties: fc.oneof(fc.boolean(), tie('any')),
          required: fc.boolean(),
        },
        { requiredKeys: ['properties', 'required'] },
      )
      .map(({ properties, required, ...rest }) => ({
        type: 'object',
        properties,
        required: required ? Object.keys(properties) : [],
        ...rest,
      })),
    array: fc.oneof(
      fc
        .tuple(tie('any'), fc.nat(3), fc.nat(3))
        .map(([items, minItems, more]) => ({ type: 'array', items, minItems, maxItems: minItems + more })),
      fc
        .array(tie('any'), { minLength: 1, maxLength: 3 })
        .map((prefixItems) => ({ type: 'array', prefixItems, items: false })),
      fc.constant({ type: 'array', items: { enum: [1, 2, 3, 4] }, uniqueItems: true, minItems: 3 }),
    ),
    union: fc.oneof(
      fc.array(tie('any'), { minLength: 1, maxLength: 3 }).map((anyOf) => ({ anyOf })),
      fc.array(tie('leaf'), { minLength: 1, maxLength: 2 }).map((branches) => ({
        oneOf: branches.map((branch, index) => ({
          type: 'object',
          properties: { kind: { const: index }, value: branch },
          required: ['kind'],
        })),
      })),
      tie('any').map((inner) => ({ $defs: { 'in~ner/1': inner }, $ref: '#/$defs/in~0ner~11' })),
    ),
  }),
);

describe('a value for a JSON Schema', () => {
  test('is a value or a refusal, never a fault, where a constant cannot be compared', () => {
    const schema: unknown = JSON.parse('{"enum":[{"valueOf":1},{"toString":2},{"toString":3}]}');
    const answers = Array.from({ length: 20 }, (_, i) => {
      try {
        return typeof valueFor(schema, `seed ${i}`);
      } catch (error) {
        return error instanceof SchemaFault ? 'refused' : 'failed';
      }
    });
    expect(answers).not.toContain('failed');
    expect(answers).toContain('refused');
  });

  test('validates, for any schema', () => {
    fc.assert(
      fc.property(schemas.any, fc.string(), (schema, seed) => {
        // A reference is to the root: only an outermost one of the generator's resolves.
        const text = JSON.stringify(schema);
        fc.pre(text.split('"$ref"').length <= (text.startsWith('{"$defs"') ? 2 : 1));
        expectValid(schema, valueFor(schema, seed));
      }),
      { numRuns: 400 },
    );
  });

  test.each<[string, object]>([
    [
      'a list that contains itself',
      {
        $defs: {
          node: {
            type: 'object',
            properties: { next: { anyOf: [{ $ref: '#/$defs/node' }, { type: 'null' }] } },
            required: ['next'],
            additionalProperties: false,
          },
        },
        $ref: '#/$defs/node',
      },
    ],
    [
      'a tree',
      {
        type: 'object',
        properties: {
          kids: { type: 'array', items: { $ref: '#' } },
          more: { type: 'array', items: { $ref: '#' } },
        },
        required: ['kids', 'more'],
      },
    ],
    [
      'all of several',
      {
        allOf: [
          { type: 'object', properties: { a: { type: 'string' } }, required: ['a'] },
          { properties: { a: { maxLength: 3 }, b: { const: 5 } }, required: ['b'] },
        ],
      },
    ],
    [
      'a reference beside keywords',
      {
        $defs: { s: { type: 'string' } },
        properties: { a: { $ref: '#/$defs/s', maxLength: 2 } },
        required: ['a'],
      },
    ],
    [
      'only one of several',
      {
        oneOf: [
          { type: 'integer', minimum: 0 },
          { type: 'integer', maximum: 50 },
        ],
      },
    ],
    ['not a text', { not: { type: 'string' } }],
    [
      'if, then and else',
      {
        if: { properties: { k: { const: 'a' } }, required: ['k'] },
        // biome-ignore lint/suspicious/noThenProperty: the keyword of JSON Schema
        then: { required: ['x'] },
        else: { required: ['y'] },
      },
    ],
    [
      'a record',
      {
        type: 'object',
        additionalProperties: { type: 'integer' },
        propertyNames: { pattern: '^x_[a-z]{3}$' },
        minProperties: 3,
      },
    ],
    [
      'properties by pattern',
      {
        type: 'object',
        patternProperties: { '^n_\\d+$': { type: 'number' } },
        additionalProperties: false,
        minProperties: 2,
      },
    ],
    [
      'what depends',
      { type: 'object', properties: { a: { const: 1 } }, required: ['a'], dependentRequired: { a: ['b'] } },
    ],
    [
      'an array that contains',
      { type: 'array', items: { type: 'integer' }, contains: { const: 7 }, minContains: 2, minItems: 3 },
    ],
    ['no type at all', { minLength: 4 }],
    ['steps of a hundredth', { type: 'number', multipleOf: 0.01, minimum: 1, maximum: 2 }],
  ])('validates for %s', (_, schema) => {
    for (const seed of ['a', 'b', 'c', 'd']) expectValid(schema, valueFor(schema, seed));
  });

  test('a tuple of draft-07 is understood', () => {
    const schema = {
      $schema: 'http://json-schema.org/draft-07/schema#',
      type: 'array',
      items: [{ type: 'string' }, { type: 'integer' }],
      additionalItems: false,
      minItems: 2,
    };
    expect(valueFor(schema)).toEqual([expect.any(String), expect.any(Number)]);
  });

  test('is the same for the same prompt and seed, and made of the prompt’s words', () => {
    const schema = {
      type: 'object',
      properties: { city: { type: 'string' }, days: { type: 'integer' } },
      required: ['city'],
    };
    expect(valueFor(schema)).toEqual(valueFor(schema));
    expect(valueFor({ type: 'string' })).toMatch(/Paris|weather|tomorrow/);
  });

  test.each<[string, unknown, string]>([
    [
      'nothing matches',
      { type: 'object', properties: { a: false }, required: ['a'] },
      "In context=('properties', 'a'), nothing matches false.",
    ],
    [
      'it never ends',
      { type: 'object', properties: { self: { $ref: '#' } }, required: ['self'] },
      'nests without end',
    ],
    ['a type is unknown', { type: 'colour' }, 'schema is invalid'],
    ['a pattern is broken', { type: 'string', pattern: '(' }, 'Invalid regular expression'],
    ['a pattern looks ahead', { type: 'string', pattern: '^(?=.*x).+$' }, 'look-ahead'],
    ['a reference leads outside', { $ref: 'https://example.com/x' }, "can't resolve reference"],
    ['bounds cross', { type: 'integer', minimum: 5, maximum: 4 }, 'no number was found'],
    ['it is enormous', { enum: ['x'.repeat(300_000)] }, 'longer than 262144 characters'],
  ])('is refused where %s, and says so', (_, schema, message) => {
    expect(() => valueFor(schema)).toThrow(SchemaFault);
    expect(() => valueFor(schema)).toThrow(message);
  });

  test('a pattern that backtracks without end is given up, and does not hold the thread', () => {
    const schema = { type: 'string', enum: [`${'a'.repeat(40)}!`], pattern: '^(a+)+$' };
    const start = performance.now();
    expect(() => valueFor(schema)).toThrow('within 2000 ms');
    expect(performance.now() - start).toBeLessThan(10_000);
  });
});

describe('strict schemas', () => {
  const closed = (properties: object) => ({
    type: 'object',
    properties,
    required: Object.keys(properties),
    additionalProperties: false,
  });

  test('one that keeps the rules has no fault', () => {
    expect(
      strictFault(
        closed({
          a: { type: 'string' },
          b: closed({ c: { type: ['integer', 'null'] } }),
          d: { type: 'array', items: closed({}) },
        }),
      ),
    ).toBeNull();
  });

  test.each<[object, string]>([
    [{ type: 'string' }, 'schema must be a JSON Schema of'],
    [
      { ...closed({ a: {} }), additionalProperties: true },
      "In context=(), 'additionalProperties' is required to be supplied and to be false.",
    ],
    [{ ...closed({ a: {}, b: {} }), required: ['a'] }, "Missing 'b'."],
    [
      closed({ a: { type: 'object', properties: {} } }),
      "In context=('properties', 'a'), 'additionalProperties'",
    ],
    [closed({ a: { anyOf: [{ type: 'object' }] } }), "In context=('properties', 'a', 'anyOf', '0')"],
    [
      closed({ a: { type: 'array', items: { allOf: [] } } }),
      "In context=('properties', 'a', 'items'), 'allOf' is not permitted.",
    ],
  ])('%o is told what is wrong and where', (schema, message) => {
    expect(strictFault(schema)).toContain(message);
  });
});
