// Bundles src/ and the packages that it uses into a folder: `node scripts/bundle.mjs <folder>`, as scripts/build.mjs
// does, on the pinned Node.js. Why a bundle, and why this one: docs/decisions/0013-bundle.md.

import { readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { rolldown } from 'rolldown';
import { parseAst } from 'rolldown/parseAst';
import { licences } from './licences.mjs';
import { ROOT } from './toolchain.mjs';

const INPUT = {
  'cli/keygate': 'src/cli/keygate.ts',
  'client/dpop': 'src/client/dpop.ts',
  'client/workload-identity': 'src/client/workload-identity.ts',
};

/** What packages import where it is installed, and do without: they are not installed. */
const ABSENT = ['pg-native', '@node-rs/xxhash', 'cloudflare:sockets'];

/**
 * What src/ names as a file beside the module becomes one in the bundle too: `new URL('./x.ts', import.meta.url)`, which
 * is started on a thread, with all that it imports; anything else as it is.
 */
const files = {
  name: 'files',
  transform: {
    filter: { id: /\/src\/.*\.ts$/, code: 'import.meta.url' },
    handler(code, importer) {
      const made = code.replaceAll(/new URL\('(\.[^']+)', import\.meta\.url\)/g, (_, path) => {
        const id = join(dirname(importer), path);
        const name = basename(path);
        const file = path.endsWith('.ts')
          ? { type: 'chunk', id, name: basename(name, '.ts') }
          : { type: 'asset', name, source: readFileSync(id) };
        return `new URL(import.meta.ROLLUP_FILE_URL_${this.emitFile(file)})`;
      });
      if (made.includes(', import.meta.url)'))
        this.error(`${importer} names a file otherwise than by a plain text.`);
      return made;
    },
  },
};

/** zod brings its messages along in fifty languages, 330 KB; only English, the one that is set, is taken. */
const english = {
  name: 'english',
  load: {
    filter: { id: /\/zod\/v4\/locales\/index\.js$/ },
    handler: () => "export { default as en } from './en.js';",
  },
};

/**
 * Node.js prints the line that an error comes from, so a file must not be one line: each statement at the top gets its
 * own.
 */
const lines = {
  name: 'lines',
  generateBundle(_, bundle) {
    for (const chunk of Object.values(bundle)) {
      if (chunk.type !== 'chunk') continue;
      const starts = parseAst(chunk.code).body.map(({ start }) => start);
      chunk.code = starts.map((start, i) => chunk.code.slice(i === 0 ? 0 : start, starts[i + 1])).join('\n');
    }
  },
};

/** What would only be found out by running it. */
const checks = {
  name: 'checks',
  generateBundle(_, bundle) {
    for (const { fileName, code, imports, name } of Object.values(bundle)) {
      if (code === undefined) continue;
      // V8 keeps the text of a file for as long as it runs, at two bytes a character if one is beyond Latin-1.
      const beyond = /[\u0080-\uffff]/.exec(code);
      if (beyond) this.error(`${fileName} holds ${JSON.stringify(beyond[0])} in a tagged template.`);
      // It says which Node.js is needed, so it must load on one that is too old.
      if (name === 'cli/keygate' && imports.some((path) => !path.startsWith('node:')))
        this.error(`${fileName} imports more than Node.js's own modules.`);
    }
  },
};

const bundle = await rolldown({
  cwd: ROOT,
  input: INPUT,
  platform: 'node',
  external: ABSENT,
  plugins: [files, english, lines, checks, licences],
  onLog(_, { message }) {
    throw new Error(message);
  },
});
await bundle.write({
  dir: process.argv[2],
  format: 'esm',
  // What V8 takes to compile a file grows with the file, and is not given back: packages are files beside ours.
  codeSplitting: { groups: [{ name: 'packages', test: /\/node_modules\//, entriesAware: true }] },
  // A server that runs while its dist/ is replaced must not load a part of another build.
  chunkFileNames: ({ name }) => `chunks/${name.replace(/~.*/, '')}-[hash].js`,
  assetFileNames: 'chunks/[name]-[hash][extname]',
  charset: 'ascii',
  comments: false,
  // Names stay as they are, for the stacks in a log.
  minify: { compress: false, mangle: false, codegen: { removeWhitespace: true } },
});
await bundle.close();
