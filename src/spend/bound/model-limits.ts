// The most tokens that a model takes in and writes, as its maker publishes them (model-limits.json, made by
// scripts/model-limits.mjs).

import data from './model-limits.json' with { type: 'json' };

export interface ModelLimits {
  /** Tokens of the prompt, at most. */
  readonly input: number;
  /** Tokens of one reply, at most; null: not known. */
  readonly output: number | null;
}

/** The largest window that a provider offers at the time of writing: 1,050,000 tokens. */
const LARGEST: ModelLimits = { input: 1_050_000, output: null };
const DATED = /-\d{4}-\d{2}-\d{2}$/;

let known: Map<string, ModelLimits> | undefined;

/** A snapshot that is not known is taken to be like the model that it is one of. */
export function modelLimits(model: string): ModelLimits {
  known ??= read();
  const name = model.toLowerCase();
  return known.get(name) ?? known.get(name.replace(DATED, '')) ?? LARGEST;
}

function read(): Map<string, ModelLimits> {
  const limits = new Map<string, ModelLimits>();
  for (const [name, [input = 0, output = 0]] of Object.entries(data.models)) {
    limits.set(name, { input, output });
    // Names come in their order: of several snapshots the last one decides for the name without a date.
    if (DATED.test(name)) limits.set(name.replace(DATED, ''), { input, output });
  }
  return limits;
}
