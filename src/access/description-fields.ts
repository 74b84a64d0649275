// What a schema of the description says, as rows that a person reads: one a member, nested ones with their whole path.

import { z } from 'zod';

export interface Field {
  /** `notification_channel.recipients[]` */
  readonly path: string;
  readonly required: boolean;
  /** `string, 1 to 256 characters` */
  readonly type: string;
  readonly about: string;
}

export type Schemas = Readonly<Record<string, unknown>>;

const Schema = z.looseObject({
  $ref: z.string().optional(),
  type: z.union([z.string(), z.string().array()]).optional(),
  enum: z.unknown().array().optional(),
  const: z.unknown().optional(),
  default: z.unknown().optional(),
  description: z.string().optional(),
  properties: z.record(z.string(), z.unknown()).optional(),
  required: z.string().array().optional(),
  items: z.unknown().optional(),
  additionalProperties: z.unknown().optional(),
  minimum: z.number().optional(),
  maximum: z.number().optional(),
  minLength: z.number().optional(),
  maxLength: z.number().optional(),
  anyOf: z.unknown().array().optional(),
  oneOf: z.unknown().array().optional(),
  allOf: z.unknown().array().optional(),
});
type Schema = z.infer<typeof Schema>;

const DEPTH_MAX = 6;

/** The members of an object's schema, nested ones behind their parents. */
export function fieldsOf(raw: unknown, schemas: Schemas): Field[] {
  return membersOf(resolve(raw, schemas), schemas, '', 0);
}

function membersOf(schema: Schema, schemas: Schemas, path: string, depth: number): Field[] {
  if (depth > DEPTH_MAX) return [];
  const parts = [...(schema.anyOf ?? []), ...(schema.oneOf ?? []), ...(schema.allOf ?? [])];
  const ofParts = parts.flatMap((part) => membersOf(resolve(part, schemas), schemas, path, depth + 1));
  const own = Object.entries(schema.properties ?? {}).flatMap(([name, raw]) => {
    const of = resolve(raw, schemas);
    const at = path === '' ? name : `${path}.${name}`;
    const required = schema.required?.includes(name) ?? false;
    const field = { path: at, required, type: typeOf(of, schemas), about: of.description ?? '' };
    const inner = of.items === undefined ? of : resolve(of.items, schemas);
    return [field, ...membersOf(inner, schemas, of.items === undefined ? at : `${at}[]`, depth + 1)];
  });
  const seen = new Set<string>();
  return [...own, ...ofParts].filter((field) => !seen.has(field.path) && seen.add(field.path));
}

/** A schema in words. */
export function typeOf(raw: unknown, schemas: Schemas): string {
  const schema = resolve(raw, schemas);
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  const choices = schema.anyOf ?? schema.oneOf;
  if (choices !== undefined) return [...new Set(choices.map((one) => typeOf(one, schemas)))].join(' or ');
  const names = [schema.type ?? 'object'].flat();
  if (schema.enum !== undefined) {
    const values = schema.enum.map((value) => JSON.stringify(value)).join(', ');
    return schema.enum.length === 1 ? values : `one of ${values}`;
  }
  const [first = 'object'] = names;
  const said =
    first === 'array' && schema.items !== undefined ? `list of ${typeOf(schema.items, schemas)}` : first;
  const nullable = names.length > 1 && first !== 'null' ? ' or null' : '';
  return said + boundsOf(schema) + nullable;
}

function boundsOf(schema: Schema): string {
  const between = (least: number | undefined, most: number | undefined, unit: string): string => {
    if (least !== undefined && most !== undefined) return `, ${least} to ${most}${unit}`;
    if (most !== undefined) return `, at most ${most}${unit}`;
    return least === undefined ? '' : `, at least ${least}${unit}`;
  };
  const fallback = schema.default === undefined ? '' : `, default ${JSON.stringify(schema.default)}`;
  return (
    between(schema.minLength, schema.maxLength, ' characters') +
    between(schema.minimum, schema.maximum, '') +
    fallback
  );
}

function resolve(raw: unknown, schemas: Schemas): Schema {
  const parsed = Schema.safeParse(raw);
  if (!parsed.success) return {};
  const name = parsed.data.$ref?.replace('#/components/schemas/', '');
  return name === undefined ? parsed.data : resolve(schemas[name], schemas);
}
