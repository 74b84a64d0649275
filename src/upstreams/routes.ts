// Which provider serves a model: the administrator's own names first, then what a provider serves by name, by
// prefix (`gpt-*`) and by `*`; the sandbox serves its own models, and everything that a test key names.
//
// Among several targets the lowest priority number is asked first; of equals, one is drawn by weight; the others
// follow in the same manner as fall-back.

import type { Config } from '../config/model.ts';
import { ENVIRONMENTS, type Environment } from '../keys/model.ts';
import type { Clock } from '../platform/clock.ts';
import { Provider } from './provider.ts';

export interface Target {
  readonly provider: Provider;
  /** The name that the provider knows the model by. */
  readonly model: string;
  readonly weight: number;
  readonly priority: number;
}

export interface Route {
  /** The name that the caller used. */
  readonly model: string;
  /** In no particular order; at least one. */
  readonly targets: readonly Target[];
  /** What is left of it for a project of each environment; null: all of it, for every environment. */
  readonly within: Readonly<Record<Environment, readonly Target[]>> | null;
}

/** A model as `GET /v1/models` lists it. */
export interface ModelListing {
  readonly id: string;
  /** Seconds since the epoch; 0 where the provider did not say. */
  readonly created: number;
  readonly ownedBy: string;
}

export interface SandboxUpstream {
  readonly provider: Provider;
  readonly models: readonly ModelListing[];
}

const ROUTES_KEPT = 10_000;

export class Routes {
  readonly providers: ReadonlyMap<string, Provider>;
  readonly sandbox: SandboxUpstream;
  /** What providers with a `*` said that they serve; filled by catalogue.ts. */
  readonly catalogue = new Map<Provider, readonly ModelListing[]>();

  readonly #config: Config;
  readonly #sandboxModels: ReadonlySet<string>;
  readonly #routes = new Map<string, Route>();
  readonly #testRoutes = new Map<string, Route>();

  constructor(config: Config, sandbox: SandboxUpstream, clock: Clock) {
    this.#config = config;
    this.sandbox = sandbox;
    this.#sandboxModels = new Set(sandbox.models.map((model) => model.id));
    this.providers = new Map(
      config.providers.map((provider) => [provider.name, new Provider(provider, config.bounds, clock)]),
    );
  }

  /** Where a call that names `model` goes; undefined when nothing serves it. */
  find(model: string, test: boolean): Route | undefined {
    const known = test ? this.#testRoutes : this.#routes;
    const route = known.get(model);
    if (route !== undefined) return route;
    const targets = test ? [this.#sandboxTarget(model)] : this.#targets(model);
    if (targets.length === 0) return undefined;
    // A `*` makes every name a route: the cache is emptied before callers can fill memory with names.
    if (known.size >= ROUTES_KEPT) known.clear();
    const found: Route = { model, targets, within: this.#within(model, targets) };
    known.set(model, found);
    return found;
  }

  #targets(model: string): Target[] {
    const own = this.#config.models.find(({ name }) => name === model);
    if (own !== undefined) {
      return own.targets.flatMap((target) => {
        const provider = this.providers.get(target.provider);
        return provider === undefined ? [] : [{ ...target, provider }];
      });
    }
    // `sandbox-small:429` is a model of the sandbox with a script behind the colon.
    if (this.#sandboxModels.has(model.split(':', 1)[0] ?? '')) return [this.#sandboxTarget(model)];
    const serving: Target[] = [];
    for (const config of this.#config.providers) {
      const provider = this.providers.get(config.name);
      if (provider !== undefined && config.models.some((pattern) => names(pattern, model))) {
        serving.push({ provider, model, weight: 1, priority: config.priority });
      }
    }
    return serving;
  }

  #within(model: string, targets: readonly Target[]): Route['within'] {
    const own = this.#config.models.find(({ name }) => name === model)?.environments ?? null;
    if (own === null && targets.every(({ provider }) => provider.environments === null)) return null;
    const of = (environment: Environment): readonly Target[] =>
      targets.filter(
        ({ provider }) =>
          (own === null || own.includes(environment)) &&
          (provider.environments === null || provider.environments.includes(environment)),
      );
    const [development, staging, production] = ENVIRONMENTS;
    return {
      [development]: of(development),
      [staging]: of(staging),
      [production]: of(production),
    };
  }

  #sandboxTarget(model: string): Target {
    return { provider: this.sandbox.provider, model, weight: 1, priority: 0 };
  }

  /** Every model that can be listed, each once, in the order in which it would be found. */
  listing(test: boolean): ModelListing[] {
    const listed = new Map<string, ModelListing>();
    const add = (model: ModelListing): void => {
      if (!listed.has(model.id)) listed.set(model.id, model);
    };
    if (!test) {
      for (const { name } of this.#config.models) add({ id: name, created: 0, ownedBy: 'keygate' });
      for (const config of this.#config.providers) {
        const provider = this.providers.get(config.name);
        for (const pattern of config.models) {
          if (!pattern.endsWith('*')) add({ id: pattern, created: 0, ownedBy: config.name });
        }
        for (const model of (provider && this.catalogue.get(provider)) ?? []) {
          if (config.models.some((pattern) => names(pattern, model.id))) add(model);
        }
      }
    }
    for (const model of this.sandbox.models) add(model);
    return [...listed.values()];
  }

  /** Every model that a provider is known to serve, by the provider's own name for it; not the sandbox's. */
  served(): { provider: string; model: string }[] {
    const served = this.#config.models.flatMap(({ targets }) =>
      targets.map(({ provider, model }) => ({ provider, model })),
    );
    for (const { name, models } of this.#config.providers) {
      const provider = this.providers.get(name);
      for (const pattern of models)
        if (!pattern.endsWith('*')) served.push({ provider: name, model: pattern });
      for (const { id } of (provider && this.catalogue.get(provider)) ?? [])
        if (models.some((pattern) => names(pattern, id))) served.push({ provider: name, model: id });
    }
    return served;
  }

  close(): void {
    for (const provider of this.providers.values()) provider.close();
    this.sandbox.provider.close();
  }
}

function names(pattern: string, model: string): boolean {
  return pattern.endsWith('*') ? model.startsWith(pattern.slice(0, -1)) : pattern === model;
}

/**
 * The next target to ask, or undefined when all have been asked.
 * @param asked targets that were asked already
 * @param random a number in [0, 1)
 */
export function nextTarget(route: Route, asked: readonly Target[], random: number): Target | undefined {
  const only = route.targets.length === 1 ? route.targets[0] : undefined;
  if (only !== undefined) return asked.length === 0 ? only : undefined;
  const left = route.targets.filter((target) => !asked.includes(target));
  const awake = left.filter((target) => !target.provider.rests);
  const pool = awake.length > 0 ? awake : left;
  const first = Math.min(...pool.map((target) => target.priority));
  const equals = pool.filter((target) => target.priority === first);
  let draw = random * equals.reduce((sum, target) => sum + target.weight, 0);
  for (const target of equals) {
    draw -= target.weight;
    if (draw < 0) return target;
  }
  return equals[0];
}
