// A small stand-in for the server: the routes that the command line uses, over real HTTP, with what a test puts in it.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { mintKey } from '../../src/keys/format.ts';

export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly authorization: string | undefined;
  readonly body: unknown;
}

type Answer = (asked: Asked, response: ServerResponse) => unknown;

export class ServerDouble {
  readonly asked: Asked[] = [];
  readonly adminKey = mintKey('admin');
  projects = [
    {
      id: 'proj_1',
      name: 'Default project',
      environment: 'production',
      status: 'active',
      created_at: 1_767_225_600,
    },
  ];
  keys: { id: string; [field: string]: unknown }[] = [];
  serviceAccounts: { id: string; [field: string]: unknown }[] = [];
  /** Answers before the routes do, when it answers at all. */
  intercept: Answer | undefined;
  readonly #server = createServer((request, response) => void this.#answer(request, response));

  async start(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** What was asked, without the look-ups of lists. */
  get changes(): string[] {
    return this.asked.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    const ndjson = request.headers['content-type'] === 'application/x-ndjson';
    const asked: Asked = {
      method: request.method ?? '',
      path: request.url ?? '',
      authorization: request.headers.authorization,
      body: body === '' ? undefined : ndjson ? body : JSON.parse(body),
    };
    this.asked.push(asked);
    response.setHeader('x-request-id', 'req_double');
    const answer = this.intercept?.(asked, response) ?? this.#route(asked);
    if (response.headersSent) return;
    if (answer === undefined) response.statusCode = 404;
    response.setHeader('content-type', 'application/json');
    response.end(
      JSON.stringify(
        answer ?? { error: { message: 'Not here.', type: 'invalid_request_error', param: null, code: null } },
      ),
    );
  }

  #route({ method, path, body, authorization }: Asked): unknown {
    const url = new URL(path, 'http://double');
    const [, ...parts] = url.pathname.split('/');
    const route = `${method} ${parts.map((part) => (/^(proj_|key_|svc_acct_)/.test(part) ? '*' : part)).join('/')}`;
    const fields = (body ?? {}) as Record<string, unknown>;
    const id = parts.at(-1) ?? '';
    const created = { created_at: 1_767_225_600, expires_at: null, redacted_value: 'sk-proj-abc...wxyz' };
    if (authorization !== `Bearer ${this.adminKey}`) return undefined;
    switch (route) {
      case 'GET v1/keygate/projects':
        return this.#page(url, this.projects);
      case 'POST v1/keygate/projects':
        return { ...this.projects[0], id: 'proj_2', ...fields };
      case 'POST v1/keygate/projects/*':
        return { ...this.projects.find((project) => project.id === id), ...fields };
      case 'GET v1/keygate/projects/*/api_keys':
      case 'GET v1/organization/admin_api_keys':
        return this.#page(url, this.keys);
      case 'GET v1/keygate/projects/*/api_keys/*':
      case 'GET v1/organization/admin_api_keys/*':
        return this.keys.find((key) => key.id === id);
      case 'POST v1/keygate/projects/*/api_keys':
        return { id: 'key_new', ...created, ...fields, value: `sk-${String(fields['type'])}-value` };
      case 'POST v1/keygate/admin_api_keys':
        return { id: 'key_new', ...created, ...fields, value: 'sk-admin-value' };
      case 'DELETE v1/organization/projects/*/api_keys/*':
      case 'DELETE v1/organization/admin_api_keys/*':
        return this.keys.some((key) => key.id === id) ? { object: 'deleted', id, deleted: true } : undefined;
      case 'GET v1/organization/projects/*/service_accounts':
        return this.#page(url, this.serviceAccounts);
      case 'POST v1/organization/projects/*/service_accounts':
      case 'POST v1/organization/projects/*/service_accounts/*':
        return { id: 'svc_acct_new', name: 'made', role: 'none', created_at: 1, api_key: null, ...fields };
      case 'POST v1/organization/projects/*/service_accounts/*/api_keys':
        return { id: 'key_new', name: 'Secret Key', ...created, ...fields, value: 'sk-svcacct-value' };
      default:
        return undefined;
    }
  }

  #page(url: URL, all: readonly { id: string }[]): unknown {
    const after = url.searchParams.get('after');
    const from = after === null ? 0 : all.findIndex(({ id }) => id === after) + 1;
    const limit = Number(url.searchParams.get('limit') ?? 20);
    const data = all.slice(from, from + limit);
    return {
      object: 'list',
      data,
      first_id: data[0]?.id ?? null,
      last_id: data.at(-1)?.id ?? null,
      has_more: from + limit < all.length,
    };
  }
}
