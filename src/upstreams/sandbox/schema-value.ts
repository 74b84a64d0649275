// A value for a JSON Schema (draft 2020-12, and draft-07's form of tuples), built from the words and numbers of
// the prompt. It is built to validate; schema.ts checks it, and tries again with other choices where a keyword
// cannot be built for (not, if, oneOf's "only one").
//
// It always ends: deep down only what is required is made, and the branch that is simplest is tried first; beyond
// MAX_DEPTH or MAX_NODES it gives up.

import { formatted } from './schema-format.ts';
import { matching, UnbuildablePattern } from './schema-pattern.ts';
import type { Seed } from './seed.ts';

/** Nothing can be built for this schema; `path` says where in it. */
export class Unbuildable extends Error {
  override readonly name = 'Unbuildable';
  readonly path: readonly string[];
  constructor(message: string, path: readonly string[]) {
    super(message);
    this.path = path;
  }
}

/** The API's way to name a place in a schema: `('properties', 'city')`. */
export function placeInContext(path: readonly string[]): string {
  return `(${path.map((step) => `'${step}'`).join(', ')}${path.length === 1 ? ',' : ''})`;
}

export interface Material {
  readonly seed: Seed;
  readonly words: readonly string[];
  readonly numbers: readonly number[];
  /** How many tries went before: choices are made otherwise each time. */
  readonly attempt: number;
}

const MAX_DEPTH = 32;
const FRUGAL_DEPTH = 5;
const FRUGAL_NODES = 500;
const MAX_NODES = 20_000;
const MAX_ITEMS = 1_000;

type Fields = ReadonlyMap<string, unknown>;
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
        return this.#string(fields, path);
      case 'integer':
      case 'number':
        return this.#number(fields, type === 'integer', path);
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
      return this.#matching(pattern, tries, path);
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

  #string(fields: Fields, path: Path): string {
    const least = bound(fields, 'minLength', 0);
    const most = bound(fields, 'maxLength', Number.POSITIVE_INFINITY);
    if (least > most || least > 100_000) throw new Unbuildable(`no text is that long`, path);
    const fits = (text: string | undefined): text is string => {
      const length = text === undefined ? -1 : [...text].length;
      return length >= least && length <= most;
    };
    const pattern = fields.get('pattern');
    if (typeof pattern === 'string') {
      for (const generous of [3, 1, 0, 2, 4, 6, 8, least, Math.min(most, 64)]) {
        const text = this.#matching(pattern, generous, path);
        if (fits(text)) return text;
      }
      throw new Unbuildable(`no text of the right length was found for the pattern '${pattern}'`, path);
    }
    const format = fields.get('format');
    const special = typeof format === 'string' ? formatted(format, this.#material.seed) : undefined;
    return fits(special) ? special : this.#phrase(least, Math.min(most, Math.max(least, 40)));
  }

  #matching(pattern: string, generous: number, path: Path): string {
    try {
      return matching(pattern, this.#material.seed, generous);
    } catch (error) {
      if (!(error instanceof UnbuildablePattern)) throw error;
      throw new Unbuildable(
        `the pattern '${pattern}' has ${error.message}, for which the sandbox builds no text`,
        path,
      );
    }
  }

  #phrase(least: number, most: number): string {
    const words = this.#material.words.length > 0 ? this.#material.words : ['sandbox'];
    let text = words[this.#choice(words.length)] ?? '';
    while ([...text].length < least) text += ` ${words[this.#choice(words.length)]}`;
    return [...text].slice(0, most).join('');
  }

  #number(fields: Fields, whole: boolean, path: Path): number {
    const step = bound(fields, 'multipleOf', whole ? 1 : 0);
    const from = Math.max(bound(fields, 'minimum', -Infinity), bound(fields, 'exclusiveMinimum', -Infinity));
    const to = Math.min(bound(fields, 'maximum', Infinity), bound(fields, 'exclusiveMaximum', Infinity));
    const fits = (value: number): boolean =>
      value >= from &&
      value <= to &&
      value !== fields.get('exclusiveMinimum') &&
      value !== fields.get('exclusiveMaximum') &&
      (!whole || Number.isInteger(value)) &&
      (step === 0 || Number.isInteger(value / step)) &&
      Number.isFinite(value);
    const given = this.#material.numbers.find(fits);
    if (given !== undefined && this.#material.attempt === 0 && this.#choice(2) === 0) return given;
    const low = Number.isFinite(from) ? from : Number.isFinite(to) ? to - 100 : 0;
    const high = Number.isFinite(to) ? to : low + 100;
    for (let tries = 0; tries < 64; tries++) {
      const guess = low + this.#material.seed.fraction() * (high - low);
      for (const value of numbersNear(guess, low, high, whole ? Math.max(1, step) : step)) {
        if (fits(value)) return value === 0 ? 0 : value;
      }
    }
    throw new Unbuildable('no number was found between its bounds', path);
  }

  #frugal(depth: number): boolean {
    return depth >= FRUGAL_DEPTH || this.#nodes > FRUGAL_NODES;
  }

  #choice(count: number): number {
    return count < 2 ? 0 : this.#material.seed.between(0, count - 1);
  }
}

function numbersNear(guess: number, low: number, high: number, step: number): number[] {
  if (step === 0) return [Number(guess.toFixed(2)), guess, low, high];
  const steps = Math.round(guess / step);
  return [steps, steps + 1, steps - 1, Math.ceil(low / step), Math.floor(high / step)].map(
    (count) => count * step,
  );
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

const UPPER_BOUNDS = new Set([
  'maximum',
  'exclusiveMaximum',
  'maxLength',
  'maxItems',
  'maxProperties',
  'maxContains',
]);
const LOWER_BOUNDS = new Set([
  'minimum',
  'exclusiveMinimum',
  'minLength',
  'minItems',
  'minProperties',
  'minContains',
]);

/** A schema that asks for what both ask for, as far as keywords can be joined. */
function both(left: Fields, right: Fields): Map<string, unknown> {
  const joined = new Map(left);
  for (const [word, value] of right)
    joined.set(word, joined.has(word) ? join(word, joined.get(word), value) : value);
  return joined;
}

function join(word: string, left: unknown, right: unknown): unknown {
  if (UPPER_BOUNDS.has(word)) return Math.min(Number(left), Number(right));
  if (LOWER_BOUNDS.has(word)) return Math.max(Number(left), Number(right));
  switch (word) {
    case 'required':
      return [...new Set([...strings(left), ...strings(right)])];
    case 'properties':
    case 'patternProperties': {
      const joined = new Map(Object.entries(Object(left)));
      for (const [name, schema] of Object.entries(Object(right))) {
        joined.set(name, joined.has(name) ? { allOf: [joined.get(name), schema] } : schema);
      }
      return Object.fromEntries(joined);
    }
    case 'items':
    case 'additionalProperties':
    case 'contains':
    case 'propertyNames':
      return left === false || right === false ? false : { allOf: [left, right] };
    case 'enum': {
      const texts = new Set([right].flat().map((value) => JSON.stringify(value)));
      return [left].flat().filter((value) => texts.has(JSON.stringify(value)));
    }
    case 'type': {
      const types = new Set([right].flat());
      const shared = [left]
        .flat()
        .filter((type) => types.has(type) || (type === 'integer' && types.has('number')));
      return types.has('integer') && [left].flat().includes('number') ? [...shared, 'integer'] : shared;
    }
    case 'allOf':
      return [...[left].flat(), ...[right].flat()];
    default:
      return right;
  }
}

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

function bound(fields: Fields, word: string, otherwise: number): number {
  const value = fields.get(word);
  return typeof value === 'number' ? value : otherwise;
}

function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}
