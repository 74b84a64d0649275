// What the sandbox says: a few sentences made of the words that it was given. It echoes and paraphrases, so that a
// person who tries it sees that the right prompt arrived, and no one takes it for a model.

import type { Seed } from './seed.ts';

const EXCERPT = 240;

// Words that carry little, in the languages most often met; the rest are what a text is about.
const LIGHT = new Set(
  (
    'a about after all also am an and any are as at be because been but by can could did do does for from get ' +
    'give had has have he her here him his how i if in into is it its just let like make me more most my no not ' +
    'now of on one only or our out please she should so some such tell than that the their them then there these ' +
    'they this to up us use was we were what when where which who why will with would you your ' +
    'au aux avec ce dans de des du elle en est et il je la le les mais ne nous on ou par pas pour que qui se sur ' +
    'un une vous das dem den der die ein eine ich im ist mit nicht sich sie und von wie zu con del el es la los ' +
    'no por que se una y'
  ).split(' '),
);

const SYNONYMS: Readonly<Record<string, string>> = {
  answer: 'reply',
  ask: 'request',
  begin: 'start',
  best: 'finest',
  big: 'large',
  build: 'construct',
  buy: 'purchase',
  change: 'alter',
  city: 'town',
  create: 'produce',
  explain: 'describe',
  fast: 'quick',
  find: 'locate',
  fix: 'repair',
  get: 'obtain',
  give: 'provide',
  good: 'fine',
  help: 'assist',
  hello: 'greetings',
  hi: 'greetings',
  idea: 'notion',
  list: 'enumerate',
  make: 'produce',
  name: 'call',
  need: 'require',
  new: 'fresh',
  problem: 'difficulty',
  question: 'query',
  quick: 'swift',
  say: 'state',
  short: 'brief',
  show: 'display',
  small: 'little',
  start: 'begin',
  stop: 'halt',
  story: 'tale',
  summarize: 'condense',
  tell: 'inform',
  think: 'reckon',
  translate: 'render',
  want: 'wish for',
  way: 'manner',
  weather: 'climate',
  word: 'term',
  work: 'labour',
  write: 'compose',
};

/** Whether a word, in lower case, is one of those that carry little. */
export function isLight(word: string): boolean {
  return LIGHT.has(word);
}

/** The words of a text that carry it, most telling first, each once, at most `most`. */
export function keywords(text: string, most = 5): string[] {
  const found = new Map<string, { word: string; weight: number; at: number }>();
  // Enough of a long prompt to say what it is about.
  for (const [word] of text.slice(0, 20_000).matchAll(/[\p{L}\p{M}\p{N}][\p{L}\p{M}\p{N}'’-]*/gu)) {
    const key = word.toLowerCase();
    if (isLight(key) || (key.length < 3 && !/[^a-z]/.test(key))) continue;
    const known = found.get(key);
    if (known) known.weight += 3;
    else found.set(key, { word, weight: Math.min(word.length, 12), at: found.size });
  }
  const ordered = [...found.values()].sort((a, b) => b.weight - a.weight || a.at - b.at);
  return ordered.slice(0, most).map((each) => each.word);
}

/** The beginning of a text on one line, cut between words. */
export function excerpt(text: string, most = EXCERPT): string {
  const flat = text
    .slice(0, most * 4)
    .replace(/\s+/g, ' ')
    .trim();
  if (flat.length <= most) return flat;
  const space = flat.lastIndexOf(' ', most);
  return `${flat.slice(0, space > most / 2 ? space : most).toWellFormed()}…`;
}

/** A reply to what was said, and to what the tools it asked for have answered since. */
export function reply(said: string, results: readonly string[], model: string, seed: Seed): string {
  const sentences: string[] = [];
  if (results.length > 0) {
    const quoted = results.slice(0, 5).map((result) => `“${excerpt(result, 160)}”`);
    sentences.push(
      `${results.length === 1 ? 'The tool answered' : 'The tools answered'} ${quoted.join(', then ')}.`,
    );
  }
  if (said.trim() === '') {
    sentences.push('You sent no text, so there is none to give back.');
  } else {
    sentences.push(`You wrote: “${excerpt(said)}”.`, ...thoughts(said, seed));
  }
  sentences.push(`This is ${model}, a deterministic stand-in: the same prompt always gets this same reply.`);
  return sentences.join(' ');
}

function thoughts(said: string, seed: Seed): string[] {
  const sentences: string[] = [];
  const rephrased = paraphrase(excerpt(said, 160));
  if (rephrased !== null)
    sentences.push(`${seed.pick(['In other words', 'Put differently', 'That is to say'])}: ${rephrased}`);
  const words = keywords(said);
  const first = words[0];
  if (first !== undefined) {
    sentences.push(
      words.length === 1
        ? `The word that carries it is ${first}.`
        : `The words that carry it are ${words.slice(0, -1).join(', ')} and ${words.at(-1)}.`,
      seed.pick([
        `A real model would say more about ${first}.`,
        `There is surely more to say about ${first}.`,
        `Much could be added on ${first}, and nothing here will.`,
      ]),
    );
  }
  return sentences;
}

function paraphrase(text: string): string | null {
  let changed = false;
  const words = text.replace(/[A-Za-z]+/g, (word) => {
    const other = SYNONYMS[word.toLowerCase()];
    if (other === undefined) return word;
    changed = true;
    return /^[A-Z]/.test(word) ? other.charAt(0).toUpperCase() + other.slice(1) : other;
  });
  if (!changed) return null;
  return /[.!?…]$/.test(words) ? words : `${words}.`;
}
