// A value for a JSON Schema (draft 2020-12, and draft-07's form of tuples), built from the words and numbers of
// the prompt. It is built to validate; schema.ts checks it, and tries again with other choices where a keyword
// cannot be built for (not, if, oneOf's "only one").
//
// It always ends: deep down only what is required is made, and the branch that is simplest is tried first; beyond
// MAX_DEPTH or MAX_NODES it gives up.

import { bound, choice, type Material, Unbuildable } from './schema-material.ts';
import { both, type Fields, strings } from './schema-merge.ts';
import { numberFor } from './schema-number.ts';
import { matchingText, textFor } from './schema-text.ts';

const MAX_DEPTH = 32;
const FRUGAL_DEPTH = 5;
const FRUGAL_NODES = 500;
const MAX_NODES = 20_000;
const MAX_ITEMS = 1_000;

type Path = readonly string[];

export function valueFor(schema: unknown, material: Material): unknown {
  return new ValueBuilder(schema, material).build(schema, [], 0);
}

class ValueBuilder {
  readonly #root: unknown;
  readonly #material: Material;
  #nodes = 0;

  constructor(root: unknown, material: Material) {
    this.#root = root;
    this.#material = material;
  }

  build(schema: unknown, path: Path, depth: number): unknown {
    this.#nodes += 1;
    if (depth > MAX_DEPTH || this.#nodes > MAX_NODES) throw new Unbuildable('it nests without end', path);
    if (schema === false) throw new Unbuildable('nothing matches false', path);
    const fields = new Map(Object.entries(Object(schema)));
    const merged = this.#merge(fields, path);
    if (merged !== null) return this.build(merged, path, depth + 1);
    const branches = fields.get('anyOf') ?? fields.get('oneOf');
    if (Array.isArray(branches)) return this.#branch(fields, branches, path, depth);
    if (fields.has('const')) return fields.get('const');
    const values = fields.get('enum');
    if (Array.isArray(values)) return this.#oneOfValues(values, fields, path);
    return this.#ofType(this.#typeOf(fields, depth), fields, path, depth);
  }

  // $ref, allOf and if stand beside other keywords: all of them hold at once.
  #merge(fields: Fields, path: Path): object | null {
    const parts: unknown[] = [];
    const rest = new Map(fields);
    if (rest.delete('$ref')) parts.push(this.#resolve(fields.get('$ref'), path));
    const all = fields.get('allOf');
    if (Array.isArray(all) && rest.delete('allOf')) parts.push(...all);
    if (rest.delete('if')) {
      const holds = this.#material.attempt % 2 === 0;
      parts.push(...(holds ? [fields.get('if'), fields.get('then')] : [fields.get('else')]));
      rest.delete('then');
      rest.delete('else');
    }
    if (parts.length === 0) return null;
    let merged: Fields = rest;
    for (const part of parts) {
      if (part === false) throw new Unbuildable('nothing matches false', path);
      if (typeof part === 'object' && part !== null) merged = both(merged, new Map(Object.entries(part)));
    }
    return Object.fromEntries(merged);
  }

  #resolve(ref: unknown, path: Path): unknown {
    if (typeof ref !== 'string' || !ref.startsWith('#')) {
      throw new Unbuildable(`the reference ${JSON.stringify(ref)} is not within the schema`, path);
    }
    // RFC 6901, in a URI fragment.
    let found = this.#root;
    for (const step of decodeURIComponent(ref.slice(1)).split('/').slice(1)) {
      const name = step.replaceAll('~1', '/').replaceAll('~0', '~');
      const below = typeof found === 'object' && found !== null && Object.hasOwn(found, name);
      if (!below) throw new Unbuildable(`the reference '${ref}' leads nowhere`, path);
      found = Reflect.get(Object(found), name);
    }
    return found;
  }

  #branch(fields: Fields, branches: readonly unknown[], path: Path, depth: number): unknown {
    const word = fields.has('anyOf') ? 'anyOf' : 'oneOf';
    const rest = new Map(fields);
    rest.delete(word);
    const order = this.#frugal(depth)
      ? bySimplicity(branches)
      : rotated(branches, this.#choice(branches.length));
    let last: unknown = new Unbuildable(`'${word}' is empty`, path);
    for (const branch of order) {
      try {
        const whole = branch === true ? rest : both(rest, new Map(Object.entries(Object(branch))));
        if (branch !== false) return this.build(Object.fromEntries(whole), path, depth + 1);
      } catch (error) {
        if (!(error instanceof Unbuildable)) throw error;
        last = error;
      }
    }
    throw last;
  }

  #oneOfValues(values: readonly unknown[], fields: Fields, path: Path): unknown {
    const type = fields.get('type');
    const types = type === undefined ? null : new Set([type].flat());
    const fitting = values.filter(
      (value) => types === null || typesOf(value).some((each) => types.has(each)),
    );
    if (fitting.length === 0) throw new Unbuildable(`no value of 'enum' is of the type`, path);
    return fitting[this.#choice(fitting.length)];
  }

  #typeOf(fields: Fields, depth: number): string {
    const type = fields.get('type');
    if (typeof type === 'string') return type;
    if (Array.isArray(type) && type.length > 0) {
      const types = type.filter((each) => typeof each === 'string');
      if (this.#frugal(depth) && types.includes('null')) return 'null';
      const full = types.filter((each) => each !== 'null');
      return full[this.#choice(full.length)] ?? 'null';
    }
    for (const [kind, words] of Object.entries(TELLTALES))
      if (words.some((word) => fields.has(word))) return kind;
    // Anything goes: text, unless that was tried and was not right.
    return ANY_TYPE[this.#material.attempt % ANY_TYPE.length] ?? 'string';
  }

  #ofType(type: string, fields: Fields, path: Path, depth: number): unknown {
    switch (type) {
      case 'object':
        return this.#object(fields, path, depth);
      case 'array':
        return this.#array(fields, path, depth);
      case 'string':
        return textFor(fields, this.#material, path);
      case 'integer':
      case 'number':
        return numberFor(fields, type === 'integer', this.#material, path);
      case 'boolean':
        return this.#choice(2) === 0;
      case 'null':
        return null;
      default:
        throw new Unbuildable(`the type ${JSON.stringify(type)} is unknown`, path);
    }
  }

  #object(fields: Fields, path: Path, depth: number): unknown {
    const properties = new Map(Object.entries(Object(fields.get('properties'))));
    const most = bound(fields, 'maxProperties', Number.POSITIVE_INFINITY);
    const least = bound(fields, 'minProperties', 0);
    const names = new Set(strings(fields.get('required')));
    if (!this.#frugal(depth)) for (const name of properties.keys()) if (names.size < most) names.add(name);
    for (const name of names) {
      for (const also of strings(Reflect.get(Object(fields.get('dependentRequired')), name))) names.add(also);
    }
    // A null prototype, so that a property called __proto__ is one like any other.
    const value: Record<string, unknown> = Object.create(null);
    for (const name of names) {
      const below = [...path, 'properties', name];
      try {
        value[name] = this.build(this.#propertySchema(fields, properties, name, path), below, depth + 1);
      } catch (error) {
        // What is not required and cannot be built is left out.
        if (strings(fields.get('required')).includes(name) || !(error instanceof Unbuildable)) throw error;
      }
    }
    const open = fields.get('additionalProperties');
    const free = properties.size === 0 && typeof open === 'object' && !this.#frugal(depth) ? 1 : 0;
    this.#fill(value, fields, Math.min(most, Math.max(least, free)), path, depth);
    return value;
  }

  // More properties than are named: a record, or minProperties.
  #fill(value: Record<string, unknown>, fields: Fields, wanted: number, path: Path, depth: number): void {
    const properties = new Map(Object.entries(Object(fields.get('properties'))));
    for (let tries = 0; Object.keys(value).length < wanted && tries < wanted + 100; tries++) {
      const spare = [...properties.keys()].find(
        (name) => !Object.hasOwn(value, name) && tries < properties.size,
      );
      const name = spare ?? this.#newName(fields, tries, path);
      if (Object.hasOwn(value, name)) continue;
      value[name] = this.build(this.#propertySchema(fields, properties, name, path), path, depth + 1);
    }
  }

  #newName(fields: Fields, tries: number, path: Path): string {
    const rule = fields.get('propertyNames');
    if (typeof rule === 'object' && rule !== null) {
      const name = this.build({ type: 'string', ...rule }, [...path, 'propertyNames'], 0);
      if (typeof name === 'string') return name;
    }
    const pattern = Object.keys(Object(fields.get('patternProperties')))[0];
    if (pattern !== undefined && fields.get('additionalProperties') === false) {
      return matchingText(pattern, tries, this.#material, path);
    }
    const word = this.#material.words[tries % Math.max(1, this.#material.words.length)] ?? 'item';
    return tries < this.#material.words.length ? word.toLowerCase() : `${word.toLowerCase()}_${tries}`;
  }

  #propertySchema(fields: Fields, properties: Fields, name: string, path: Path): unknown {
    if (properties.has(name)) return properties.get(name);
    for (const [pattern, schema] of Object.entries(Object(fields.get('patternProperties')))) {
      if (new RegExp(pattern, 'u').test(name)) return schema;
    }
    const open = fields.get('additionalProperties');
    if (open === false) throw new Unbuildable(`the property '${name}' is required and not allowed`, path);
    return open;
  }

  #array(fields: Fields, path: Path, depth: number): unknown[] {
    const items = fields.get('items');
    const tuple = Array.isArray(items) ? items : fields.get('prefixItems');
    const rest = Array.isArray(items) ? fields.get('additionalItems') : items;
    const first: readonly unknown[] = Array.isArray(tuple) ? tuple : [];
    const contains = fields.get('contains');
    const held = contains === undefined ? 0 : bound(fields, 'minContains', 1);
    const least = Math.max(bound(fields, 'minItems', 0), held);
    const usual = this.#frugal(depth) ? least : Math.max(least, first.length, rest === false ? 0 : 1);
    const length = Math.min(usual, bound(fields, 'maxItems', Number.POSITIVE_INFINITY));
    if (least > MAX_ITEMS) throw new Unbuildable(`it wants more than ${MAX_ITEMS} items`, path);
    const value: unknown[] = [];
    const seen = new Set<string>();
    for (let tries = 0; value.length < length && tries < length + 200; tries++) {
      const at = value.length;
      const schema = at < first.length ? first[at] : at - first.length < held ? contains : rest;
      if (schema === false) break;
      const item = this.build(schema, [...path, 'items'], depth + 1);
      const text = JSON.stringify(item);
      if (fields.get('uniqueItems') === true && seen.has(text)) continue;
      seen.add(text);
      value.push(item);
    }
    if (value.length < least) throw new Unbuildable('it wants more different items than there are', path);
    return value;
  }

  #frugal(depth: number): boolean {
    return depth >= FRUGAL_DEPTH || this.#nodes > FRUGAL_NODES;
  }

  #choice(count: number): number {
    return choice(this.#material, count);
  }
}

const TELLTALES: Readonly<Record<string, readonly string[]>> = {
  object: [
    'properties',
    'required',
    'additionalProperties',
    'patternProperties',
    'propertyNames',
    'minProperties',
  ],
  array: ['items', 'prefixItems', 'contains', 'minItems', 'uniqueItems'],
  string: ['pattern', 'minLength', 'maxLength', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf'],
};

const ANY_TYPE = ['string', 'number', 'boolean', 'null', 'object', 'array'];

function rotated<T>(list: readonly T[], by: number): T[] {
  return [...list.slice(by), ...list.slice(0, by)];
}

function bySimplicity(branches: readonly unknown[]): unknown[] {
  const weight = (branch: unknown): number => {
    const type = Reflect.get(Object(branch), 'type');
    if (type === 'null' || Reflect.has(Object(branch), 'const')) return 0;
    if (typeof type === 'string' && type !== 'object' && type !== 'array') return 1;
    return Reflect.has(Object(branch), '$ref') ? 3 : 2;
  };
  return [...branches].sort((a, b) => weight(a) - weight(b));
}

function typesOf(value: unknown): string[] {
  if (value === null) return ['null'];
  if (Array.isArray(value)) return ['array'];
  if (typeof value === 'number') return Number.isInteger(value) ? ['integer', 'number'] : ['number'];
  return [typeof value];
}
