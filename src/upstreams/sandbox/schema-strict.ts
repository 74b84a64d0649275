// The rules that a schema must keep when it asks for `strict: true`: every object closed, every property required.
// Source: OpenAI's guide "Structured outputs", Supported schemas.

import { placeInContext } from './schema-material.ts';

const MAX_DEPTH = 64;

/** What breaks the rules first, in the API's words; null if nothing does. */
export function strictFault(schema: unknown): string | null {
  if (Reflect.get(Object(schema), 'type') !== 'object') {
    const type = Reflect.get(Object(schema), 'type');
    return `schema must be a JSON Schema of 'type: "object"', got 'type: ${JSON.stringify(type ?? 'None')}'.`;
  }
  return faultIn(schema, []);
}

function faultIn(schema: unknown, path: readonly string[]): string | null {
  if (typeof schema !== 'object' || schema === null || path.length > MAX_DEPTH) return null;
  const fields = new Map(Object.entries(schema));
  const context = `In context=${placeInContext(path)}`;
  for (const word of [
    'allOf',
    'not',
    'dependentRequired',
    'dependentSchemas',
    'if',
    'then',
    'else',
    'oneOf',
  ]) {
    if (fields.has(word)) return `${context}, '${word}' is not permitted.`;
  }
  const properties = fields.get('properties');
  if (fields.get('type') === 'object' || properties !== undefined) {
    if (fields.get('additionalProperties') !== false) {
      return `${context}, 'additionalProperties' is required to be supplied and to be false.`;
    }
    const required = new Set(Array.isArray(fields.get('required')) ? fields.get('required') : []);
    const left = Object.keys(Object(properties)).find((name) => !required.has(name));
    if (left !== undefined) {
      return `${context}, 'required' is required to be supplied and to be an array including every key in properties. Missing '${left}'.`;
    }
  }
  return faultBelow(fields, path);
}

function faultBelow(fields: ReadonlyMap<string, unknown>, path: readonly string[]): string | null {
  for (const word of ['properties', '$defs', 'definitions']) {
    for (const [name, each] of Object.entries(Object(fields.get(word)))) {
      const fault = faultIn(each, [...path, word, name]);
      if (fault !== null) return fault;
    }
  }
  const items = faultIn(fields.get('items'), [...path, 'items']);
  if (items !== null) return items;
  const branches = fields.get('anyOf');
  for (const [index, branch] of (Array.isArray(branches) ? branches : []).entries()) {
    const fault = faultIn(branch, [...path, 'anyOf', String(index)]);
    if (fault !== null) return fault;
  }
  return null;
}
