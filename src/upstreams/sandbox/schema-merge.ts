// Joins two JSON Schemas that must both hold (allOf, $ref beside other keywords, a branch beside its base) into
// one, as far as their keywords can be joined; where they cannot, the later one stands, and the check of the
// finished value tells.

/** A schema's keywords. */
export type Fields = ReadonlyMap<string, unknown>;

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
export function both(left: Fields, right: Fields): Map<string, unknown> {
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

/** The texts in a list; none if it is no list. */
export function strings(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((each) => typeof each === 'string') : [];
}
