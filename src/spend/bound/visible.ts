// Models whose streams show all that they write: nothing of what is billed as output is kept from the caller. Only of such
// a reply can the spend be told while it runs, so only such a call can be reserved bit by bit (`spend.unbounded_replies:
// stop`). A model that reasons out of sight may be billed tens of thousands of tokens before its first visible one.

import { anyGlobMatches } from '../prices/glob.ts';

/** Published as models that do not reason. */
const KNOWN: readonly string[] = [
  'gpt-3.5*',
  'gpt-4*',
  'chatgpt-4o*',
  'ft:gpt-3.5*',
  'ft:gpt-4*',
  // They search out of sight.
  '!*search*',
];

/** @param own names that the administrator vouches for (`spend.stop_models`) */
export function showsAll(model: string, own: readonly string[]): boolean {
  const name = model.toLowerCase();
  return anyGlobMatches(KNOWN, name) || anyGlobMatches(own, name);
}
