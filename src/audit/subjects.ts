// Whom and what an entry of the audit log is about: who acted (a key and its owner, a user, a workload) and on what.
// Filters look these up; they are derived from the entry and say nothing that it does not.

export interface Subject {
  readonly kind: 'actor' | 'email' | 'resource';
  readonly value: string;
}

/** Where the payloads of entries name what they are about. */
const RESOURCE_FIELDS = ['id', 'principal_id', 'resource_id', 'identity_provider_id'] as const;
const RESOURCE_LISTS = ['certificates', 'configs'] as const;

export function subjectsOf(actor: unknown, payload: unknown): Subject[] {
  const found = new Map<string, Subject>();
  const add = (kind: Subject['kind'], value: unknown) => {
    if (typeof value === 'string' && value !== '' && value.length <= 512)
      found.set(`${kind} ${value}`, { kind, value });
  };
  const key = member(actor, 'api_key');
  add('actor', member(key, 'id'));
  add('actor', member(key, 'owner_id'));
  const user = member(member(actor, 'session'), 'user');
  add('actor', member(user, 'id'));
  const email = member(user, 'email');
  if (typeof email === 'string') add('email', email.toLowerCase());
  add('actor', member(actor, 'provider_id'));
  for (const field of RESOURCE_FIELDS) add('resource', member(payload, field));
  for (const list of RESOURCE_LISTS) {
    const items = member(payload, list);
    if (Array.isArray(items)) for (const item of items) add('resource', member(item, 'id'));
  }
  return [...found.values()];
}

function member(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? Reflect.get(value, name)
    : undefined;
}
