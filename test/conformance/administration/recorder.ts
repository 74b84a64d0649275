// `client.admin` of the unmodified official client, watched: which of its methods were called, and what came back for
// each, as the JSON that was on the wire and not as the client made it up.

import OpenAI from 'openai';

export interface Exchange {
  /** `organization.projects.create` */
  readonly method: string;
  /** `POST` */
  readonly verb: string;
  /** The path as it was called, without a query. */
  readonly path: string;
  readonly status: number;
  readonly body: unknown;
}

export interface Recorder {
  readonly admin: OpenAI['admin'];
  readonly exchanges: readonly Exchange[];
  /** Methods that answered at least once. */
  called(): Set<string>;
}

/** Calls must be made one after the other: a page that is fetched later belongs to the method called last. */
export function record(server: { readonly url: string; readonly adminKey: string }): Recorder {
  const exchanges: Exchange[] = [];
  let method = '';
  const client = new OpenAI({
    adminAPIKey: server.adminKey,
    apiKey: null,
    organization: null,
    project: null,
    baseURL: `${server.url}/v1`,
    maxRetries: 0,
    fetch: async (input, init) => {
      const response = await fetch(input, init);
      const text = await response.clone().text();
      exchanges.push({
        method,
        verb: init?.method ?? 'GET',
        path: new URL(String(input)).pathname,
        status: response.status,
        body: text === '' ? null : JSON.parse(text),
      });
      return response;
    },
  });
  const watch = <T extends object>(resource: T, path: string): T =>
    new Proxy(resource, {
      get(target, key) {
        const value: unknown = Reflect.get(target, key);
        if (typeof key !== 'string' || key.startsWith('_') || value === null) return value;
        const name = `${path}${key}`;
        if (typeof value === 'object') return watch(value, `${name}.`);
        if (typeof value !== 'function') return value;
        return (...given: unknown[]): unknown => {
          method = name;
          return Reflect.apply(value, target, given);
        };
      },
    });
  return {
    admin: watch(client.admin, ''),
    exchanges,
    called: () => new Set(exchanges.filter(({ status }) => status < 300).map((one) => one.method)),
  };
}

/** The methods of every resource below, as they are there when the program runs. */
export function methodsOf(resource: object, path = ''): string[] {
  const own = Object.entries(resource).flatMap(([name, value]: [string, unknown]) =>
    name.startsWith('_') || typeof value !== 'object' || value === null
      ? []
      : methodsOf(value, `${path}${name}.`),
  );
  const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(resource)).filter(
    (name) => name !== 'constructor' && !name.startsWith('_'),
  );
  return [...own, ...methods.map((name) => path + name)];
}
