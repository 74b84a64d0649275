// The roll-up's thread: reads segments, prices their events and sums them. It touches no database and no file, and it
// imports little: what a thread loads, it holds once more.

import { setPriority } from 'node:os';
import { parentPort } from 'node:worker_threads';
import { PriceTable } from '../prices/table.ts';
import { Folder } from './fold.ts';
import type { FoldAnswer, Pricing, Question, RawSegment } from './messages.ts';
import type { ListNames } from './price.ts';
import { segmentEvents } from './segment.ts';

function fold(segments: readonly RawSegment[], table: PriceTable, names: ListNames): FoldAnswer {
  const folder = new Folder(table, names);
  const failed: { seq: number; reason: string }[] = [];
  for (const { seq, format, events, crc, payload } of segments) {
    try {
      // Read as a whole before the first event is added: a segment counts as a whole or not at all.
      const read = segmentEvents({ format, events, crc, payload });
      for (const event of read) folder.add(event);
    } catch (error) {
      failed.push({ seq, reason: reasonOf(error) });
    }
  }
  return { sheet: folder.sheet(), failed };
}

function listNames(table: PriceTable, { addresses }: Pricing): ListNames {
  const names: Record<string, string> = {};
  for (const [name, address] of Object.entries(addresses))
    names[name] = table.providerAt(new URL(address)) ?? name;
  return names;
}

/** Never the values that it was about. */
function reasonOf(error: unknown): string {
  if (error instanceof Error && error.message.startsWith('usage segment')) return error.message;
  return 'its lines are not of this format';
}

/** Of the scheduler's niceness, 0 to 19: the road goes first where both want a core. */
const NICENESS = 10;

/** On Linux setpriority(2) of process 0 is of the calling thread alone; elsewhere it would slow the whole server. */
function letTheRoadGoFirst(): void {
  if (process.platform !== 'linux') return;
  try {
    setPriority(0, NICENESS);
  } catch {
    // A sandbox may forbid it: then folding competes as any thread does.
  }
}

function serve(): void {
  const port = parentPort;
  if (!port) throw new Error('rollup-worker runs as a worker thread only.');
  letTheRoadGoFirst();
  let table: PriceTable | null = null;
  let names: ListNames = {};
  port.on('message', (question: Question) => {
    if ('pricing' in question) {
      table = new PriceTable(question.pricing.lists);
      names = listNames(table, question.pricing);
      return;
    }
    if (table === null) throw new Error('segments came before prices');
    port.postMessage(fold(question.segments, table, names));
  });
}

serve();
