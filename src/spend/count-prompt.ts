// How many tokens a request's prompt takes, from its body: chat completions, responses, completions, embeddings
// and Anthropic messages, told apart by their fields.
//
// What is published is followed; what is not is estimated, and the count then says `exact: false`:
// - Messages: 3 tokens each, its role, its content, 1 more for a name, and 3 that prime the reply. Function tools:
//   fixed amounts a function, a property and an enumerated value around the counted texts. Both from OpenAI's
//   cookbook, "How to count tokens with tiktoken", sections 6 and 7.
// - Images: 85 tokens in low detail, else 765 (what gpt-4o takes for 1024 x 1024); their real size is not read.
// - Audio: 10 tokens a second, at 48,000 bytes a second for wav and 16,000 for anything else.
// - Files: a token for each four bytes of what is inline; a file that is only named counts nothing.
// - An output schema, and any other tool or item: the tokens of its JSON.
// - Earlier turns that the provider holds (previous_response_id, conversation, prompt) are not here to be counted.

import { estimateTokens, type TokenCount } from './count-estimate.ts';
import { type EncodingName, encodingFor, Tokenizer } from './count-text.ts';

const PER_MESSAGE = 3;
const PER_NAME = 1;
const PER_REPLY = 3;
const IMAGE_LOW = 85;
const IMAGE = 765;
const FUNCTION = { properties: 3, property: 3, enumInit: -3, enumItem: 3, end: 12 };
// gpt-4 and gpt-3.5 (cl100k_base) frame a function with three tokens more than gpt-4o.
const FUNCTION_INIT = { o200k_base: 7, cl100k_base: 10 };
const MAX_SCHEMA_DEPTH = 32;

/** The prompt tokens of a parsed request body; a body that is none of the known ones counts as its JSON. */
export function countPrompt(body: unknown, model: string): TokenCount {
  const encoding = encodingFor(model);
  const tally = new Tally(encoding.name, encoding.known);
  if (Array.isArray(field(body, 'messages'))) countMessages(body, tally);
  else if (has(body, 'prompt') && !has(body, 'input')) countInputs(field(body, 'prompt'), tally);
  else if (isEmbedding(body, model)) countInputs(field(body, 'input'), tally);
  else if (['input', 'instructions', 'previous_response_id'].some((name) => has(body, name))) {
    countResponse(body, tally);
  } else tally.json(body);
  return { tokens: tally.tokens, exact: tally.exact };
}

class Tally {
  tokens = 0;
  exact: boolean;
  readonly functionInit: number;
  readonly #tokenizer: Tokenizer;

  constructor(encoding: EncodingName, known: boolean) {
    this.exact = known;
    this.functionInit = FUNCTION_INIT[encoding];
    this.#tokenizer = Tokenizer.of(encoding);
  }

  text(text: unknown): void {
    if (typeof text !== 'string' || text === '') return;
    const count = this.#tokenizer.count(text);
    this.tokens += count.tokens;
    if (!count.exact) this.exact = false;
  }

  json(value: unknown): void {
    this.text(JSON.stringify(value));
    this.exact = false;
  }

  estimate(tokens: number): void {
    this.tokens += tokens;
    this.exact = false;
  }
}

function countMessages(body: unknown, tally: Tally): void {
  // Anthropic's system prompt stands beside the messages.
  const system = field(body, 'system');
  if (system !== undefined) countMessage({ role: 'system', content: system }, tally);
  for (const message of items(body, 'messages')) countMessage(message, tally);
  tally.tokens += PER_REPLY;
  countTools(items(body, 'tools'), tally);
  countTools(items(body, 'functions'), tally);
  const schema = field(field(body, 'response_format'), 'json_schema');
  if (schema !== undefined) tally.json(schema);
}

function countMessage(message: unknown, tally: Tally): void {
  tally.tokens += PER_MESSAGE;
  tally.text(field(message, 'role'));
  countContent(field(message, 'content'), tally);
  const name = field(message, 'name');
  if (typeof name === 'string') {
    tally.text(name);
    tally.tokens += PER_NAME;
  }
  tally.text(field(message, 'refusal'));
  for (const call of items(message, 'tool_calls')) countCall(call, tally);
  if (field(message, 'function_call')) countCall(message, tally);
}

// How a call already made is laid out in the prompt is not published.
function countCall(call: unknown, tally: Tally): void {
  const made = field(call, 'function') ?? field(call, 'custom') ?? field(call, 'function_call') ?? call;
  tally.text(field(made, 'name'));
  tally.text(field(made, 'arguments'));
  tally.text(field(made, 'input'));
  tally.estimate(PER_MESSAGE);
}

function countContent(content: unknown, tally: Tally): void {
  if (Array.isArray(content)) for (const part of content) countPart(part, tally);
  else tally.text(content);
}

function countPart(part: unknown, tally: Tally): void {
  switch (field(part, 'type')) {
    case 'text':
    case 'input_text':
    case 'output_text':
      tally.text(field(part, 'text'));
      break;
    case 'refusal':
      tally.text(field(part, 'refusal'));
      break;
    case 'image_url':
    case 'input_image':
    case 'image':
      tally.estimate(isLowDetail(part) ? IMAGE_LOW : IMAGE);
      break;
    case 'input_audio':
      tally.estimate(audioTokens(field(part, 'input_audio')));
      break;
    case 'file':
    case 'input_file':
      tally.estimate(fileTokens(field(part, 'file') ?? part));
      break;
    case 'tool_result':
      tally.estimate(PER_MESSAGE);
      countContent(field(part, 'content'), tally);
      break;
    default:
      tally.json(part);
  }
}

function isLowDetail(part: unknown): boolean {
  return (field(part, 'detail') ?? field(field(part, 'image_url'), 'detail')) === 'low';
}

function audioTokens(audio: unknown): number {
  return Math.ceil(
    (base64Bytes(field(audio, 'data')) / (field(audio, 'format') === 'wav' ? 48_000 : 16_000)) * 10,
  );
}

function fileTokens(file: unknown): number {
  return estimateTokens(base64Bytes(field(file, 'file_data')));
}

function base64Bytes(text: unknown): number {
  return typeof text === 'string' ? (text.length * 3) / 4 : 0;
}

function countResponse(body: unknown, tally: Tally): void {
  const instructions = field(body, 'instructions');
  const input = field(body, 'input');
  if (typeof instructions === 'string') countMessage({ role: 'system', content: instructions }, tally);
  if (typeof input === 'string') countMessage({ role: 'user', content: input }, tally);
  for (const item of items(body, 'input')) countItem(item, tally);
  tally.tokens += PER_REPLY;
  countTools(items(body, 'tools'), tally);
  const format = field(field(body, 'text'), 'format');
  if (field(format, 'schema') !== undefined) tally.json(format);
  const held = ['previous_response_id', 'conversation', 'prompt'].map((name) => field(body, name));
  if (held.some((each) => each !== undefined && each !== null)) tally.exact = false;
}

function countItem(item: unknown, tally: Tally): void {
  switch (field(item, 'type') ?? 'message') {
    case 'message':
      countMessage(item, tally);
      break;
    case 'function_call':
    case 'custom_tool_call':
      countCall(item, tally);
      break;
    case 'function_call_output':
    case 'custom_tool_call_output':
      tally.estimate(PER_MESSAGE);
      countContent(field(item, 'output'), tally);
      break;
    case 'reasoning':
      // What was thought before is not put to the model again once a new turn has begun.
      tally.estimate(0);
      break;
    default:
      tally.json(item);
  }
}

function countTools(tools: readonly unknown[], tally: Tally): void {
  let functions = 0;
  for (const tool of tools) {
    // A chat tool holds its function; a responses tool, a legacy function and an Anthropic tool are it.
    const described = field(tool, 'function') ?? tool;
    const schema = field(described, 'parameters') ?? field(described, 'input_schema');
    if (schema === undefined && field(tool, 'type') !== 'function') {
      tally.json(tool);
      continue;
    }
    functions += 1;
    tally.tokens += tally.functionInit;
    tally.text(line(field(described, 'name'), field(described, 'description')));
    countProperties(schema, tally, 0);
  }
  if (functions > 0) tally.tokens += FUNCTION.end;
}

// The cookbook counts one level; deeper ones are counted in the same way, which is an estimate.
function countProperties(schema: unknown, tally: Tally, depth: number): void {
  const described = field(schema, 'properties');
  const properties = typeof described === 'object' ? Object.entries(described ?? {}) : [];
  if (properties.length === 0) return;
  tally.tokens += FUNCTION.properties;
  if (depth > 0) tally.exact = false;
  for (const [name, property] of properties) {
    tally.tokens += FUNCTION.property;
    const values = items(property, 'enum');
    if (values.length > 0) tally.tokens += FUNCTION.enumInit;
    for (const value of values) {
      tally.tokens += FUNCTION.enumItem;
      tally.text(String(value));
    }
    tally.text(line(name, field(property, 'type'), field(property, 'description')));
    if (depth >= MAX_SCHEMA_DEPTH) tally.json(property);
    else {
      countProperties(property, tally, depth + 1);
      countProperties(field(property, 'items'), tally, depth + 1);
    }
  }
}

function line(...parts: readonly unknown[]): string {
  const texts = parts.map((part) => (typeof part === 'string' ? part : ''));
  return texts.join(':').replace(/\.$/, '');
}

/** Texts, or tokens already: a string, strings, tokens, or lists of tokens. */
function countInputs(input: unknown, tally: Tally): void {
  if (!Array.isArray(input)) {
    tally.text(input);
    return;
  }
  for (const each of input) {
    if (typeof each === 'number') tally.tokens += 1;
    else if (Array.isArray(each)) tally.tokens += each.length;
    else if (typeof each === 'string') tally.text(each);
    else countPart(each, tally);
  }
}

// Both embeddings and responses call it `input`: the model's name or a parameter that only one of them has tells.
function isEmbedding(body: unknown, model: string): boolean {
  if (!has(body, 'input')) return false;
  if (has(body, 'encoding_format') || has(body, 'dimensions') || /embed|moderation/i.test(model)) return true;
  return items(body, 'input').some((each) => typeof each !== 'object' || Array.isArray(each));
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

function has(value: unknown, name: string): boolean {
  return field(value, name) !== undefined;
}

function items(value: unknown, name: string): readonly unknown[] {
  const found = field(value, name);
  return Array.isArray(found) ? found : [];
}
