// A control plane over a fresh store, set up as at a first start, and the unmodified official client in front of it.

import OpenAI from 'openai';
import { bootstrap } from '../../src/access/bootstrap.ts';
import {
  type ControlPart,
  type ControlPlane,
  type ControlPlaneDeps,
  createControlPlane,
} from '../../src/access/control-plane.ts';
import { KeyRegistry } from '../../src/keys/registry.ts';
import { ManualClock } from '../../src/platform/clock.ts';
import type { Store } from '../../src/store/store.ts';
import type { StoreKind, StorePlace } from '../store/stores.ts';

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: unknown;
}

export interface Plane {
  readonly place: StorePlace;
  readonly store: Store;
  readonly registry: KeyRegistry;
  readonly clock: ManualClock;
  readonly app: ControlPlane;
  readonly faults: unknown[];
  readonly organizationId: string;
  readonly projectId: string;
  readonly adminKey: string;
  readonly projectKey: string;
  readonly admin: OpenAI;
  /** One request with any key, the admin key if none is named. */
  call(method: string, path: string, options?: CallOptions): Promise<Reply>;
  close(): Promise<void>;
}

export interface CallOptions {
  readonly key?: string | null;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  readonly from?: string;
}

const BASE = 'http://keygate.test';

export async function openPlane(
  kind: StoreKind,
  parts: (deps: ControlPlaneDeps) => readonly ControlPart[] = () => [],
): Promise<Plane> {
  const place = await kind.fresh();
  const clock = new ManualClock();
  const store = await place.open({ clock });
  const made = await bootstrap({ store, clock, adminKey: null });
  if (made?.adminKey == null || made.projectKey == null) throw new Error('The store was not empty.');
  const registry = new KeyRegistry({ clock });
  await registry.load(store);
  const stop = registry.follow(store);
  const faults: unknown[] = [];
  const deps: ControlPlaneDeps = { store, registry, clock, onError: (error) => faults.push(error) };
  const app = createControlPlane(deps, parts(deps));
  const { adminKey, projectKey } = made;
  return {
    place,
    store,
    registry,
    clock,
    app,
    faults,
    organizationId: made.organizationId,
    projectId: made.projectId,
    adminKey,
    projectKey,
    admin: clientOf(app, adminKey),
    call: (method, path, options = {}) => call(app, method, path, { key: adminKey, ...options }),
    close: async () => {
      await stop().catch(() => {});
      await place.remove();
    },
  };
}

/** The official client with its own `fetch` replaced by the application; nothing else is changed. */
export function clientOf(app: ControlPlane, adminAPIKey: string): OpenAI {
  return new OpenAI({
    adminAPIKey,
    apiKey: null,
    organization: null,
    project: null,
    baseURL: `${BASE}/v1`,
    maxRetries: 0,
    fetch: (input, init) => app.fetch(new Request(input, init), { remoteAddress: '192.0.2.1' }),
  });
}

async function call(app: ControlPlane, method: string, path: string, options: CallOptions): Promise<Reply> {
  const { key, body, headers = {}, from = '192.0.2.1' } = options;
  const sent: RequestInit = {
    method,
    headers: {
      ...(key && { authorization: `Bearer ${key}` }),
      ...(body !== undefined && { 'content-type': 'application/json' }),
      ...headers,
    },
  };
  if (body !== undefined) sent.body = typeof body === 'string' ? body : JSON.stringify(body);
  const response = await app.fetch(new Request(BASE + path, sent), { remoteAddress: from });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === '' ? null : JSON.parse(text) };
}

/** The `error` of a refusal's body. */
export function errorOf(reply: Reply): {
  message: string;
  type: string;
  param: string | null;
  code: string | null;
} {
  const { body } = reply;
  if (typeof body !== 'object' || body === null || !('error' in body))
    throw new Error('The reply is no refusal.');
  return body.error as ReturnType<typeof errorOf>;
}

/** A field of a reply's body, of which the caller knows the type. */
export function field(reply: Reply, name: string): string {
  const value = (reply.body as Record<string, unknown>)[name];
  if (typeof value !== 'string')
    throw new Error(`The reply has no text '${name}': ${JSON.stringify(reply.body)}`);
  return value;
}
