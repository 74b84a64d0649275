// The operations that keygate answers itself: which models there are, as far as the calling key may use them.

import type { Clock } from '../platform/clock.ts';
import type { ModelListing, Routes } from '../upstreams/routes.ts';
import { checkModel, unknownModel } from './authorize.ts';
import type { Call } from './call.ts';
import { answer } from './reply.ts';
import type { Verdict } from './verdict.ts';

export function answerModels(call: Call, clock: Clock, routes: Routes): Verdict {
  const { caller, operation } = call;
  if (caller === null || operation === null) throw new Error('answer before authorize');
  const usable = routes
    .listing(caller.type === 'test')
    .filter((model) => caller.models === null || caller.models.has(model.id));
  if (operation.name === 'models.list') {
    answer(call, clock, 200, { object: 'list', data: usable.map(published) });
    return null;
  }
  const id = decoded(call.parameters[0] ?? '');
  const found = usable.find((model) => model.id === id);
  if (found === undefined) {
    const served = routes.find(id, false);
    const refusal = served === undefined ? unknownModel(id, routes) : checkModel(caller, id);
    if (refusal !== null) return refusal;
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
