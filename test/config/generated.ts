// Parts of documents that are generated from the source: a test compares them, and rewrites them when it is run with
// KEYGATE_UPDATE_DOCS=1.

import { readFileSync, writeFileSync } from 'node:fs';
import { expect } from 'vitest';

/** What stands between `<!-- name: … -->` and `<!-- end -->` in `document` is `wanted`. */
export function expectGenerated(document: string, name: string, wanted: string): void {
  const file = new URL(`../../${document}`, import.meta.url);
  const text = readFileSync(file, 'utf8');
  const [whole, opening = ''] =
    new RegExp(`(<!-- ${name}: [^\\n]*-->\n)(.*?)<!-- end -->`, 's').exec(text) ?? [];
  if (whole === undefined) throw new Error(`${document} has no part called ${name}`);
  const fresh = `${opening}\n${wanted.trim()}\n\n<!-- end -->`;
  if (process.env['KEYGATE_UPDATE_DOCS'] === '1')
    writeFileSync(
      file,
      text.replace(whole, () => fresh),
    );
  else expect(whole, `${document} is stale: run KEYGATE_UPDATE_DOCS=1 npm test -- docs help`).toBe(fresh);
}
