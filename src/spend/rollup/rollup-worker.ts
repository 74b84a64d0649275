// The roll-up's thread where PostgreSQL is the store: reads segments, prices their events and sums them. It touches no
// database and no file, and it imports little: what a thread loads, it holds once more.

import { parentPort } from 'node:worker_threads';
import { Folder } from './fold.ts';
import type { FoldAnswer, Question, RawSegment, Unreadable } from './messages.ts';
import { type Prices, pricesOf } from './price.ts';
import { reasonOf, segmentEvents } from './segment.ts';
import { sheetOf } from './sheet.ts';

function fold(segments: readonly RawSegment[], prices: Prices): FoldAnswer {
  const folder = new Folder(prices);
  const failed: Unreadable[] = [];
  for (const segment of segments) {
    try {
      // Read as a whole before the first event is added: a segment counts as a whole or not at all.
      const read = [...segmentEvents(segment)];
      for (const event of read) folder.add(event);
    } catch (error) {
      failed.push({ seq: segment.seq, reason: reasonOf(error) });
    }
  }
  return { sheet: sheetOf(folder), failed };
}

function serve(): void {
  const port = parentPort;
  if (!port) throw new Error('rollup-worker runs as a worker thread only.');
  let prices: Prices | null = null;
  port.on('message', (question: Question) => {
    if ('pricing' in question) {
      prices = pricesOf(question.pricing);
      return;
    }
    if (prices === null) throw new Error('segments came before prices');
    port.postMessage(fold(question.segments, prices));
  });
}

serve();
