// The operations that keygate answers itself: which models there are, as far as the calling key may use them.

import type { Clock } from '../platform/clock.ts';
import { ApiError } from '../platform/errors.ts';
import type { ModelListing, Routes } from '../upstreams/routes.ts';
import { permittedRoute } from './authorize.ts';
import type { Call } from './call.ts';
import { answer } from './reply.ts';
import type { Verdict } from './verdict.ts';

export function answerModels(call: Call, clock: Clock, routes: Routes): Verdict {
  const { caller, operation } = call;
  if (caller === null || operation === null) throw new Error('answer before authorize');
  const usable = routes
    .listing(caller.type === 'test')
    .filter((model) => !(permittedRoute(caller, model.id, routes) instanceof ApiError));
  if (operation.name === 'models.list') {
    answer(call, clock, 200, { object: 'list', data: usable.map(published) });
    return null;
  }
  const id = decoded(call.parameters[0] ?? '');
  const found = usable.find((model) => model.id === id);
  if (found === undefined) {
    const route = permittedRoute(caller, id, routes);
    if (route instanceof ApiError) return route;
  }
  answer(call, clock, 200, published(found ?? { id, created: 0, ownedBy: 'provider' }));
  return null;
}

function published(model: ModelListing): object {
  return { id: model.id, object: 'model', created: model.created, owned_by: model.ownedBy };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
