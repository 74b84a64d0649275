// POST /v1/moderations: flags what holds one of a few plain words. It is a stand-in that says so in its model's
// name: it reads words, not meaning, and keeps no one safe.

import { z } from 'zod';
import type { Inquiry } from './inquiry.ts';
import { jsonReply, type Reply } from './plan.ts';
import { read } from './refusal.ts';
import type { Setting } from './setting.ts';

const part = z.discriminatedUnion('type', [
  z.looseObject({ type: z.literal('text'), text: z.string() }),
  z.looseObject({ type: z.literal('image_url'), image_url: z.looseObject({ url: z.string() }) }),
]);
const moderationRequest = z.looseObject({
  input: z.union([
    z.string(),
    z
      .array(z.union([z.string(), part]))
      .min(1)
      .max(2_048),
  ]),
  model: z.string().nullish(),
});

// Every category of the API; those without words are never flagged.
const WORDS: Readonly<Record<string, readonly string[]>> = {
  harassment: ['harass', 'bully', 'idiot', 'moron'],
  'harassment/threatening': ['threaten'],
  hate: ['hate', 'hateful'],
  'hate/threatening': [],
  illicit: ['counterfeit', 'steal', 'smuggle'],
  'illicit/violent': ['bomb', 'explosive'],
  'self-harm': ['suicide', 'self-harm'],
  'self-harm/instructions': [],
  'self-harm/intent': [],
  sexual: ['porn', 'nude'],
  'sexual/minors': [],
  violence: ['kill', 'murder', 'attack', 'stab'],
  'violence/graphic': ['gore', 'dismember'],
};
const IMAGE_CATEGORIES = new Set([
  'self-harm',
  'self-harm/instructions',
  'self-harm/intent',
  'sexual',
  'violence',
  'violence/graphic',
]);

export function moderations(inquiry: Inquiry, setting: Setting): Reply {
  const request = read(moderationRequest, inquiry.body);
  const inputs = [request.input].flat();
  const texts = inputs.map((each) =>
    typeof each === 'string' ? each : each.type === 'text' ? each.text : '',
  );
  const image = inputs.some((each) => typeof each === 'object' && each.type === 'image_url');
  // Parts are one input together; strings are each their own.
  const judged = inputs.every((each) => typeof each === 'string') ? texts : [texts.join('\n')];
  return jsonReply({
    id: setting.newId('modr-', 32),
    model: inquiry.served.id,
    results: judged.map((text) => judge(text, image)),
  });
}

function judge(text: string, image: boolean) {
  const words = new Set(text.toLowerCase().match(/[\p{L}\p{N}'-]+/gu) ?? []);
  const hits = (list: readonly string[]): number =>
    list.filter((word) => words.has(word) || words.has(`${word}s`)).length;
  const counts = Object.entries(WORDS).map(([name, list]) => [name, hits(list)] as const);
  const table = <T>(value: (count: number, name: string) => T) =>
    Object.fromEntries(counts.map(([name, count]) => [name, value(count, name)]));
  return {
    flagged: counts.some(([, count]) => count > 0),
    categories: table((count) => count > 0),
    category_scores: table((count) => (count === 0 ? 0.0001 : 1 - 0.1 / count)),
    category_applied_input_types: table((_, name) =>
      image && IMAGE_CATEGORIES.has(name) ? ['text', 'image'] : ['text'],
    ),
  };
}
