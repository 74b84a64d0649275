// Which objects of the provider's a body refers to by id. They live under the provider's one account, so a project
// could name another's; each must be shown to be the calling project's own before the call is forwarded.

type Json = Readonly<Record<string, unknown>>;

const NONE: readonly string[] = Object.freeze([]);

/** Ids of earlier responses, conversations, files, vector stores and containers that a request body names. */
export function references(body: Json): readonly string[] {
  const found: string[] = [];
  add(found, body['previous_response_id']);
  add(found, body['conversation']);
  add(found, record(body['conversation'])?.['id']);
  items(found, body['input']);
  items(found, body['messages']);
  for (const tool of list(body['tools'])) {
    const fields = record(tool);
    for (const id of list(fields?.['vector_store_ids'])) add(found, id);
    add(found, fields?.['container']);
    for (const id of list(record(fields?.['container'])?.['file_ids'])) add(found, id);
    add(found, record(fields?.['input_image_mask'])?.['file_id']);
  }
  return found.length === 0 ? NONE : found;
}

function items(found: string[], value: unknown): void {
  for (const item of list(value)) {
    const fields = record(item);
    if (fields?.['type'] === 'item_reference') add(found, fields['id']);
    for (const part of list(fields?.['content'])) {
      const inner = record(part);
      add(found, inner?.['file_id']);
      add(found, record(inner?.['file'])?.['file_id']);
    }
    for (const part of list(fields?.['output'])) add(found, record(part)?.['file_id']);
  }
}

function add(found: string[], value: unknown): void {
  if (typeof value === 'string' && value !== '') found.push(value);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : NONE;
}

function record(value: unknown): Json | null {
  return isRecord(value) ? value : null;
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
