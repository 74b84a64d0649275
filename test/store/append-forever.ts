// Appends segments and makes writes until it is killed, and prints a line for each one that was acknowledged:
// `s <number>` or `w <number>`. Arguments: the data folder, and the number to begin with.

import { systemClock } from '../../src/platform/clock.ts';
import { openStore } from '../../src/store/open.ts';
import { segment } from './rows.ts';

const [dataDir = '', first = '0'] = process.argv.slice(2);
const store = await openStore({ dataDir, databaseUrl: null, clock: systemClock, onError: console.error });
process.stdout.write('open\n');

async function append(from: number, step: number): Promise<void> {
  for (let number = from; ; number += step) {
    await store.appendSegment(segment(number, number % 5000));
    process.stdout.write(`s ${number}\n`);
  }
}

async function write(from: number): Promise<void> {
  for (let number = from; ; number++) {
    await store.write(async (tx) => {
      await tx
        .insertInto('meta')
        .values({ name: `a${number}`, value: 'x' })
        .execute();
      await tx
        .insertInto('meta')
        .values({ name: `b${number}`, value: 'x' })
        .execute();
      await store.announce(tx, 'project', `p${number}`, Date.now());
    });
    process.stdout.write(`w ${number}\n`);
  }
}

const from = Number(first);
await Promise.all([append(from, 3), append(from + 1, 3), append(from + 2, 3), write(from)]);
