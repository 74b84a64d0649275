// The roll-up's thread where PostgreSQL is the store: reads segments, prices their events and sums them. It touches no
// database and no file, and it imports little: what a thread loads, it holds once more.

import { parentPort } from 'node:worker_threads';
import { reasonOf, scanSegment } from '../segment/scan.ts';
import { Folder } from './fold.ts';
import type { FoldAnswer, NumberedSegment, Question, Unreadable } from './messages.ts';
import { type Prices, pricesOf } from './price.ts';
import { sheetOf } from './sheet.ts';

function fold(segments: readonly NumberedSegment[], prices: Prices): FoldAnswer {
  const failed: Unreadable[] = [];
  let good = segments;
  for (;;) {
    const folder = new Folder(prices);
    const bad = firstUnreadable(good, folder);
    if (bad === undefined) return { sheet: sheetOf(folder), failed };
    // A segment counts as a whole or not at all, and a part of it may be in the sums: the others are read again.
    failed.push(bad);
    good = good.filter(({ seq }) => seq !== bad.seq);
  }
}

function firstUnreadable(segments: readonly NumberedSegment[], folder: Folder): Unreadable | undefined {
  for (const segment of segments) {
    try {
      scanSegment(segment, folder);
    } catch (error) {
      return { seq: segment.seq, reason: reasonOf(error) };
    }
  }
  return undefined;
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
