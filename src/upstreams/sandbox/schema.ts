// Values that validate: builds one for a JSON Schema and checks it with Ajv before it is given out. A schema that
// is none, or for which none is found, is a refusal that says where: what is given out always validates.

import vm from 'node:vm';
import { Ajv, type ValidateFunction } from 'ajv';
import { Ajv2020 } from 'ajv/dist/2020.js';
import { type Material, placeInContext, Unbuildable } from './schema-material.ts';
import { valueFor } from './schema-value.ts';
import { Seed } from './seed.ts';
import { Remembered } from './setting.ts';

/** Why no value can be given for a schema, in words that end the API's sentence "Invalid schema for …: ". */
export class SchemaFault extends Error {
  override readonly name = 'SchemaFault';
}

const ATTEMPTS = 40;
const MAX_SCHEMA_CHARS = 256 * 1024;
// A pattern of the caller's own may backtrack without end: the engine is stopped, not the thread.
const CHECK_MS = 2_000;

const compiled = new Remembered<ValidateFunction>(64);

/**
 * A value that validates against `schema`, made from the words and numbers of `prompt`.
 *
 * @throws {SchemaFault}
 */
export function validValue(
  schema: unknown,
  prompt: { readonly words: readonly string[]; readonly numbers: readonly number[] },
  seed: string,
): unknown {
  const text = JSON.stringify(schema) ?? 'true';
  if (text.length > MAX_SCHEMA_CHARS)
    throw new SchemaFault(`it is longer than ${MAX_SCHEMA_CHARS} characters.`);
  return bounded(() => {
    const validates = compile(schema, text);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const material: Material = { ...prompt, seed: new Seed(`${seed} ${attempt}`), attempt };
      const value = built(schema, material);
      if (holds(validates, value)) return value;
    }
    const fault = validates.errors?.[0];
    throw new SchemaFault(
      `the sandbox found no value for it (${fault?.schemaPath ?? 'unknown place'}: ${fault?.message ?? 'no match'}).`,
    );
  });
}

/** Ajv compares constants by their own toString and valueOf, and stumbles over a constant that has members so named. */
function holds(validates: ValidateFunction, value: unknown): boolean {
  try {
    return validates(value) === true;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    throw new SchemaFault(
      'a constant in it has a member named toString or valueOf, which cannot be compared.',
    );
  }
}

function built(schema: unknown, material: Material): unknown {
  try {
    return valueFor(schema, material);
  } catch (error) {
    if (!(error instanceof Unbuildable)) throw error;
    throw new SchemaFault(`In context=${placeInContext(error.path)}, ${error.message}.`);
  }
}

function compile(schema: unknown, text: string): ValidateFunction {
  const known = compiled.get(text);
  if (known) return known;
  const ajv = ajvFor(schema);
  try {
    const validates = ajv.compile(plain(schema));
    compiled.set(text, validates);
    return validates;
  } catch (error) {
    throw new SchemaFault(`${error instanceof Error ? error.message : 'it is no JSON Schema'}.`);
  } finally {
    // Else it would keep every schema that it has met, and refuse a second one of the same $id.
    ajv.removeSchema();
  }
}

const OPTIONS = { strict: false, validateFormats: false, logger: false } as const;
const dialects: { draft7?: Ajv; draft2020?: Ajv } = {};

function ajvFor(schema: unknown): Ajv {
  const dialect = Reflect.get(Object(schema), '$schema');
  const old = typeof dialect === 'string' && /draft-0[4-7]/.test(dialect);
  if (old || Array.isArray(Reflect.get(Object(schema), 'items'))) {
    dialects.draft7 ??= new Ajv(OPTIONS);
    return dialects.draft7;
  }
  dialects.draft2020 ??= new Ajv2020(OPTIONS);
  return dialects.draft2020;
}

// Ajv's own switches are no part of a caller's schema, and a dialect that it does not know is read as 2020-12.
function plain(schema: unknown): object | boolean {
  if (typeof schema !== 'object' || schema === null) return schema !== false;
  const { $schema: _dialect, $async: _async, $id: _id, ...rest } = Object(schema);
  return rest;
}

function bounded(work: () => unknown): unknown {
  let result: unknown;
  const run = (): void => {
    result = work();
  };
  try {
    new vm.Script('run()').runInNewContext({ run }, { timeout: CHECK_MS });
  } catch (error) {
    if (Reflect.get(Object(error), 'code') !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    throw new SchemaFault(`the sandbox found no value for it within ${CHECK_MS} ms.`);
  }
  return result;
}
