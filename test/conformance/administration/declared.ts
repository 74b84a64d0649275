// JSON Schemas of what each method under `client.admin` answers with, derived from the pinned client's own type
// declarations by TypeScript's checker: what the types say is what the replies are held to.
//
// An object's schema is closed: a member that the declaration does not name is an error, because keygate's own
// extensions have routes of their own. Members without `?` are required. A page's schema is its class's data members;
// the list envelope may carry `object`, `first_id` and `last_id` beside them, as the published API has them.

import { fileURLToPath } from 'node:url';
import {
  API,
  type Checker,
  type Symbol as Declared,
  SignatureKind,
  SymbolFlags,
  type Type,
  type TypeReference,
} from 'typescript/unstable/sync';

export type JsonSchema = { readonly [keyword: string]: unknown };

export interface DeclaredMethod {
  /** `organization.projects.users.create` */
  readonly name: string;
  /** What it resolves with, as JSON: an object, or a page of them. */
  readonly reply: JsonSchema;
  /** The class of the page for a list, such as `ConversationCursorPage`; null for an object. */
  readonly page: string | null;
}

const CONFIG = fileURLToPath(new URL('tsconfig.json', import.meta.url));
const SOURCE = fileURLToPath(new URL('admin-type.ts', import.meta.url));
/** Deeper types do not stand in this API; a bound keeps a mistake from running on. */
const DEPTH_MAX = 24;
const ENVELOPE: JsonSchema = { type: ['string', 'null'] };

/** Every method of every resource under `client.admin`, by name. */
export function declaredMethods(): Map<string, DeclaredMethod> {
  const api = new API();
  try {
    const project = api.updateSnapshot({ openProjects: [CONFIG] }).getProject(CONFIG);
    const source = project?.program.getSourceFile(SOURCE);
    if (project === undefined || source === undefined) throw new Error('The declarations cannot be read.');
    const { checker } = project;
    const module = checker.getSymbolAtLocation(source);
    const admin = module === undefined ? undefined : checker.getMemberInModuleExports(module, 'Admin');
    if (admin === undefined) throw new Error('The type of `client.admin` was not found.');
    const found = new Map<string, DeclaredMethod>();
    walk(checker, checker.getDeclaredTypeOfSymbol(admin), '', found);
    return found;
  } finally {
    api.close();
  }
}

function walk(checker: Checker, resource: Type, path: string, found: Map<string, DeclaredMethod>): void {
  for (const member of checker.getPropertiesOfType(resource)) {
    // The client itself and its insides are not resources.
    if (member.name.startsWith('_')) continue;
    const type = checker.getTypeOfSymbol(member);
    if (type === undefined) throw new Error(`${path}${member.name} has no type`);
    const name = `${path}${member.name}`;
    const signature = checker.getSignaturesOfType(type, SignatureKind.Call).at(-1);
    if (signature === undefined) {
      walk(checker, type, `${name}.`, found);
      continue;
    }
    const answer = checker.getReturnTypeOfSignature(signature);
    if (answer === undefined || !answer.isTypeReference()) throw new Error(`${name} answers with no promise`);
    const [reply] = checker.getTypeArguments(answer);
    if (reply === undefined) throw new Error(`${name} answers with nothing`);
    const isPage = answer.getSymbol()?.name === 'PagePromise';
    found.set(name, {
      name,
      reply: isPage ? pageSchema(checker, reply) : schemaOf(checker, reply, 0),
      page: isPage ? pageClass(reply) : null,
    });
  }
}

function pageClass(page: Type): string {
  for (let at: Type | undefined = page; at !== undefined; at = at.getBaseTypes()?.[0]) {
    const name = at.getSymbol()?.name ?? '';
    if (/^(Page|CursorPage|ConversationCursorPage|NextCursorPage|TokenPage)$/.test(name)) return name;
  }
  throw new Error('A page of an unknown class.');
}

function pageSchema(checker: Checker, page: Type): JsonSchema {
  const properties: Record<string, JsonSchema> = {};
  for (const name of ['data', 'has_more', 'last_id', 'next', 'object', 'next_page']) {
    const member = checker.getPropertyOfType(page, name);
    const type = member === undefined ? undefined : checker.getTypeOfSymbol(member);
    if (type !== undefined) properties[name] = schemaOf(checker, type, 0);
  }
  const required = Object.keys(properties);
  // An empty list has no last object, and the clients take null for it.
  if (properties['last_id'] !== undefined) properties['last_id'] = ENVELOPE;
  return {
    type: 'object',
    properties: { object: { enum: ['list', 'page'] }, first_id: ENVELOPE, last_id: ENVELOPE, ...properties },
    required,
    additionalProperties: false,
  };
}

function schemaOf(checker: Checker, type: Type, depth: number): JsonSchema {
  if (depth > DEPTH_MAX) throw new Error(`The type ${checker.typeToString(type)} is too deep.`);
  if (type.isUnionType()) return unionOf(checker, type.getTypes(), depth);
  if (type.isStringLiteralType() || type.isNumberLiteralType() || type.isBooleanLiteralType())
    return { const: type.value };
  if (type.isIntrinsicType()) return intrinsic(type.intrinsicName);
  if (type.isIntersectionType()) return intersection(checker, type, depth);
  if (checker.isArrayType(type)) {
    const [item] = checker.getTypeArguments(type as TypeReference);
    if (item === undefined) throw new Error('An array of nothing.');
    return { type: 'array', items: schemaOf(checker, item, depth + 1) };
  }
  return objectOf(checker, type, depth);
}

function intrinsic(name: string): JsonSchema {
  switch (name) {
    case 'string':
    case 'number':
    case 'boolean':
    case 'null':
      return { type: name };
    case 'true':
    case 'false':
      return { const: name === 'true' };
    case 'any':
    case 'unknown':
      return {};
    default:
      throw new Error(`A reply of type ${name} cannot be checked.`);
  }
}

function unionOf(checker: Checker, types: readonly Type[], depth: number): JsonSchema {
  const said = types.filter((type) => !(type.isIntrinsicType() && type.intrinsicName === 'undefined'));
  const [only, ...rest] = said.map((type) => schemaOf(checker, type, depth + 1));
  if (only === undefined) throw new Error('A union of nothing.');
  return rest.length === 0 ? only : { anyOf: [only, ...rest] };
}

/** `string & {}` is how the client says "these, and strings that are not known yet". */
function intersection(checker: Checker, type: Type, depth: number): JsonSchema {
  const text = checker.typeToString(type);
  if (/^string & \{\s*\}$|^\{\s*\} & string$/.test(text)) return { type: 'string' };
  return objectOf(checker, type, depth);
}

function objectOf(checker: Checker, type: Type, depth: number): JsonSchema {
  const members = checker.getPropertiesOfType(type);
  const index = checker.getIndexInfosOfType(type)[0];
  const properties: Record<string, JsonSchema> = {};
  const required: string[] = [];
  for (const member of members) {
    const of = checker.getTypeOfSymbol(member);
    if (of === undefined) throw new Error(`${member.name} has no type`);
    properties[member.name] = schemaOf(checker, of, depth + 1);
    if (!isOptional(member)) required.push(member.name);
  }
  return {
    type: 'object',
    properties,
    required,
    additionalProperties: index === undefined ? false : schemaOf(checker, index.valueType, depth + 1),
  };
}

function isOptional(member: Declared): boolean {
  return (member.flags & SymbolFlags.Optional) !== 0;
}
