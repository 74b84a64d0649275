// A plugin of the bundle: writes the licences of the packages that are in it to THIRD-PARTY-LICENSES, as they ask.

import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

const PACKAGE = /^.*\/node_modules\/(?:@[^/]+\/)?[^/]+/;
const NOTICE = /^(licen[cs]e|copying|notice)/i;

export const licences = {
  name: 'licences',
  generateBundle(_, bundle) {
    const modules = Object.values(bundle).flatMap((chunk) => Object.keys(chunk.modules ?? {}));
    const folders = new Set(modules.flatMap((id) => PACKAGE.exec(id)?.[0] ?? []));
    const texts = [...folders].map((folder) => {
      const { name, version, license, author } = JSON.parse(
        readFileSync(join(folder, 'package.json'), 'utf8'),
      );
      const files = readdirSync(folder).filter((file) => NOTICE.test(file));
      if (license === undefined && files.length === 0) this.error(`${name} has no licence.`);
      const notices = files.map((file) => readFileSync(join(folder, file), 'utf8').trim());
      const by = files.length === 0 ? ` by ${author?.name ?? author ?? 'its authors'}` : '';
      return [`${name} ${version} (${license})${by}`, ...notices].join('\n\n');
    });
    const source = `${texts.sort().join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
    this.emitFile({ type: 'asset', fileName: 'THIRD-PARTY-LICENSES', source });
  },
};
