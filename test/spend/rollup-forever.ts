// Appends segments and folds them until it is killed. Prints a line for each batch that was folded.
// Arguments: the data folder, the number of the first event, and the address of a PostgreSQL database or nothing.

import { Secret } from '../../src/config/model.ts';
import { systemClock } from '../../src/platform/clock.ts';
import { openStore } from '../../src/store/open.ts';
import { event, MINUTE, START } from './rollup-events.ts';
import { append, rollupOver } from './rollup-store.ts';

const [dataDir = '', first = '0', url = ''] = process.argv.slice(2);
const databaseUrl = url === '' ? null : new Secret(url);
const store = await openStore({ dataDir, databaseUrl, clock: systemClock, onError: console.error });
const rollup = rollupOver(store);

async function appendForever(): Promise<void> {
  for (let number = Number(first); ; number += 100) {
    const events = Array.from({ length: 100 }, (_, at) => {
      const input = number + at;
      const keyId = `key_${input % 7}`;
      return event({ at: START + number * MINUTE, keyId, usage: { ...event({}).usage, input, output: 3 } });
    });
    await append(store, events);
    // Slower than folding, so that there is no backlog to wait for.
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function foldForever(): Promise<void> {
  for (;;) {
    const { segments } = await rollup.turn();
    if (segments > 0) process.stdout.write(`folded ${segments}\n`);
    else await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

await Promise.all([appendForever(), foldForever()]);
