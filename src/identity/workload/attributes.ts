// From a verified token (or certificate) to attributes: its own claims by their names, and what the provider's
// transformations derive, under `openai.…`, in CEL (the Common Expression Language) over `assertion`.
//
// Bounds: an expression has at most 4,096 characters and at most one comprehension (`exists`, `map`, …), because one
// inside another over a token's lists would multiply; regular expressions are RE2's, linear in their input. An
// expression that does not come to a text, a number or a truth value derives nothing: a missing claim matches no rule.

import { type CelInput, celEnv, isCelError, parse, plan } from '@bufbuild/cel';
import { strings } from '@bufbuild/cel/ext';
import { DERIVED, type Transformation } from './model.ts';

/** Nothing a claim or an expression comes to is longer. */
const VALUE_MAX = 4096;

const env = celEnv({ funcs: strings });

type Claims = Readonly<Record<string, unknown>>;
type Evaluate = (assertion: Claims) => unknown;

const compiled = new Map<string, Evaluate>();
const COMPILED_MAX = 2000;

/** What is wrong with an expression, or null. */
export function expressionFlaw(expression: string): string | null {
  try {
    compile(expression);
    return null;
  } catch (error) {
    return error instanceof TooMuch ? error.message : 'is not a valid CEL expression';
  }
}

class TooMuch extends Error {}

function compile(expression: string): Evaluate {
  const known = compiled.get(expression);
  if (known !== undefined) return known;
  const parsed = parse(expression);
  if (comprehensions(parsed.expr) > 1) {
    throw new TooMuch('may hold one comprehension (exists, all, map, filter) and not more');
  }
  const run = plan(env, parsed);
  const evaluate: Evaluate = (assertion) => run({ assertion: celInput(assertion) });
  if (compiled.size >= COMPILED_MAX) compiled.clear();
  compiled.set(expression, evaluate);
  return evaluate;
}

/** How many comprehensions an expression's tree holds. */
function comprehensions(tree: unknown): number {
  let found = 0;
  const left: unknown[] = [tree];
  for (let node = left.pop(); node !== undefined; node = left.pop()) {
    if (typeof node !== 'object' || node === null) continue;
    if ('case' in node && node.case === 'comprehensionExpr') found++;
    for (const value of Object.values(node))
      if (typeof value === 'object' && value !== null) left.push(value);
  }
  return found;
}

/** JSON as CEL takes it: whole numbers are its integers. */
function celInput(value: unknown): CelInput {
  if (Array.isArray(value)) return value.map(celInput);
  if (typeof value === 'object' && value !== null) {
    return new Map(Object.entries(value).map(([name, item]) => [name, celInput(item)]));
  }
  if (typeof value === 'number') return Number.isSafeInteger(value) ? BigInt(value) : value;
  return typeof value === 'string' || typeof value === 'boolean' ? value : null;
}

/**
 * The attributes of a verified assertion. A claim called `openai.…` counts for nothing: that name is for what the
 * transformations derive.
 */
export function attributesOf(
  assertion: Claims,
  transformations: readonly Transformation[],
): ReadonlyMap<string, unknown> {
  const attributes = new Map<string, unknown>();
  for (const [name, value] of Object.entries(assertion)) {
    if (!name.startsWith(DERIVED)) attributes.set(name, value);
  }
  for (const { attribute, expression } of transformations) {
    const value = scalar(evaluate(expression, assertion));
    if (value !== undefined) attributes.set(attribute, value);
  }
  return attributes;
}

function evaluate(expression: string, assertion: Claims): unknown {
  try {
    const value = compile(expression)(assertion);
    return isCelError(value) ? undefined : value;
  } catch {
    return undefined;
  }
}

function scalar(value: unknown): string | number | boolean | undefined {
  switch (typeof value) {
    case 'string':
      return value.length <= VALUE_MAX ? value : undefined;
    case 'boolean':
      return value;
    case 'number':
      return Number.isFinite(value) ? value : undefined;
    case 'bigint': {
      const number = Number(value);
      return Number.isSafeInteger(number) ? number : undefined;
    }
    default:
      return undefined;
  }
}
