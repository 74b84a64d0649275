// What a provider with a `*` serves is asked of the provider itself, at start and again every few minutes, so that
// `GET /v1/models` lists real names. A provider that does not answer keeps its last list; calls do not wait for it.

import { z } from 'zod';
import type { Config } from '../config/model.ts';
import { requestLine } from './http1/connection.ts';
import type { Provider } from './provider.ts';
import type { ModelListing, Routes } from './routes.ts';

const EVERY_MS = 10 * 60_000;
const ANSWER_MS = 10_000;
const ANSWER_BYTES = 4 * 1024 * 1024;

const Reply = z.object({
  data: z.array(
    z.object({
      id: z.string().min(1).max(256),
      created: z.number().optional(),
      owned_by: z.string().optional(),
    }),
  ),
});

/** Keeps `routes.catalogue` current until the returned function is called. */
export function keepCatalogue(
  config: Config,
  routes: Routes,
  complain: (message: string) => void,
): () => void {
  const asked = config.providers.filter(({ models }) => models.some((pattern) => pattern.endsWith('*')));
  const refresh = (): void => {
    for (const { name } of asked) {
      void list(routes, name).catch((error: unknown) => {
        const why = error instanceof Error ? error.message : 'no usable answer';
        complain(`provider ${name} did not list its models: ${why}`);
      });
    }
  };
  refresh();
  const timer = setInterval(refresh, EVERY_MS).unref();
  return () => clearInterval(timer);
}

async function list(routes: Routes, name: string): Promise<void> {
  const provider = routes.providers.get(name);
  if (provider === undefined) return;
  const { headerLines } = provider;
  if (headerLines === null) throw new Error('its credential cannot be read at the moment');
  const { status, body } = await fetchModels(provider, headerLines);
  if (status !== 200) throw new Error(`it answered ${status}`);
  const parsed = Reply.safeParse(JSON.parse(body));
  if (!parsed.success) throw new Error('its answer is not a list of models');
  routes.catalogue.set(
    provider,
    parsed.data.data.map(
      (model): ModelListing => ({
        id: model.id,
        created: model.created ?? 0,
        ownedBy: model.owned_by ?? provider.name,
      }),
    ),
  );
}

/** `GET {base}/models` over one of the provider's own connections, bounded in time and size. */
function fetchModels(provider: Provider, headerLines: string): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const parts: Buffer[] = [];
    let bytes = 0;
    let status = 0;
    provider.connections.acquire({
      failed: reject,
      take(connection) {
        const timer = setTimeout(() => connection.abort(new Error('it did not answer in time')), ANSWER_MS);
        const finish = (): void => {
          clearTimeout(timer);
          provider.connections.release(connection);
        };
        connection.send('GET', requestLine('GET', `${provider.basePath}/models`) + headerLines, null, {
          head: (head) => {
            status = head.status;
          },
          data: (chunk) => {
            bytes += chunk.length;
            if (bytes <= ANSWER_BYTES) parts.push(Buffer.from(chunk));
            else connection.abort(new Error('its list is too long'));
            return true;
          },
          complete: () => {
            finish();
            resolve({ status, body: Buffer.concat(parts).toString('utf8') });
          },
          failed: (error) => {
            finish();
            reject(error);
          },
        });
      },
    });
  });
}
