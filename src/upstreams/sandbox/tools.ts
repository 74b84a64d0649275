// Which tools a reply calls, and with what: as a model would, but by rules that are told in docs/sandbox.md.
//
// `auto`: after a tool has answered, none. Else every tool whose name the user spelled out, or, if there is none,
// the one whose name and description share most words with what the user said; none shared, none called.
// `required`: the same, and the first tool where no word is shared. A named tool: that one.

import { keywords } from './prose.ts';
import { validValue } from './schema.ts';

export interface Tool {
  readonly kind: 'function' | 'custom';
  readonly name: string;
  readonly description: string;
  /** The JSON Schema of a function's arguments; undefined for none. */
  readonly parameters: unknown;
  /** The place of `parameters` in the request, for a refusal. */
  readonly place: string;
}

export type ToolChoice = 'none' | 'auto' | 'required' | { readonly name: string };

export interface ToolOffer {
  readonly tools: readonly Tool[];
  readonly choice: ToolChoice;
  /** Whether several may be called at once. */
  readonly parallel: boolean;
}

export interface ToolCall {
  readonly tool: Tool;
  /** JSON of the arguments, or a custom tool's plain input. */
  readonly input: string;
}

export const NO_TOOLS: ToolOffer = { tools: [], choice: 'none', parallel: false };

const MOST_AT_ONCE = 8;

/** @param answered whether a tool has answered since the user last spoke */
export function chooseTools(offer: ToolOffer, said: string, answered: boolean): readonly Tool[] {
  const { tools, choice } = offer;
  if (choice === 'none' || (choice === 'auto' && answered)) return [];
  if (typeof choice === 'object') return tools.filter((tool) => tool.name === choice.name).slice(0, 1);
  const text = ` ${said.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, ' ')} `;
  const spelled = tools.filter(
    (tool) => text.includes(` ${wordsOf(tool.name).join(' ')} `) || said.includes(tool.name),
  );
  if (spelled.length > 0) return spelled.slice(0, offer.parallel ? MOST_AT_ONCE : 1);
  const said_ = new Set(keywords(said, 200).map((word) => stem(word.toLowerCase())));
  let best: Tool | undefined;
  let most = 0;
  for (const tool of tools) {
    const words = new Set(
      [...wordsOf(tool.name), ...keywords(tool.description, 50)].map((word) => stem(word.toLowerCase())),
    );
    const shared = [...words].filter((word) => said_.has(word)).length;
    if (shared > most) {
      best = tool;
      most = shared;
    }
  }
  best ??= choice === 'required' ? tools[0] : undefined;
  return best === undefined ? [] : [best];
}

/**
 * What a tool is called with: arguments that validate against its schema.
 *
 * @throws {SchemaFault}
 */
export function inputFor(tool: Tool, said: string, seed: string): string {
  if (tool.kind === 'custom') return said;
  if (tool.parameters === undefined || tool.parameters === null) return '{}';
  return JSON.stringify(validValue(tool.parameters, promptMaterial(said), seed));
}

/** The words and numbers of a prompt of which values are made; names (capitalised words) first. */
export function promptMaterial(said: string): { words: string[]; numbers: number[] } {
  const words = keywords(said, 12);
  const names = words.filter((word) => /^\p{Lu}/u.test(word) && !said.trimStart().startsWith(word));
  const numbers = [...said.slice(0, 20_000).matchAll(/(?<![\w.])-?\d{1,12}(?:\.\d{1,6})?(?![\w])/g)].map(
    Number,
  );
  return { words: names.length > 0 ? names : words, numbers: numbers.slice(0, 20) };
}

// get_weather, getWeather and get-weather are the same words.
function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .toLowerCase()
    .split(/[^\p{L}\p{N}]+/u)
    .filter((word) => word !== '');
}

function stem(word: string): string {
  return word.length > 4 ? word.replace(/(ing|ed|es|s)$/, '') : word;
}
