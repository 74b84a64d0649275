// The thread of a simulation: it reads the calls out of what it is given and replays them, so that the server's own
// thread only passes bytes on.

import { parentPort, workerData } from 'node:worker_threads';
import { readSegment } from '../spend/segment/read.ts';
import { Arrivals } from './arrivals.ts';
import { TEST_MODEL } from './known-models.ts';
import { Overlay } from './overlay.ts';
import { type ReplayedEvent, simulate } from './simulate.ts';
import { type Input, type Output, recordedCall, type SimulationOrder } from './simulation-model.ts';
import { reachedTier } from './standing.ts';
import { holderName, type Statement } from './statements.ts';
import { tablesOf } from './tables.ts';

/** A line of a recorded call. */
const MAX_LINE = 64 * 1024;

class Reading {
  unreadable = 0;
  private readonly order: SimulationOrder;
  private readonly arrivals = new Arrivals();
  private readonly decoder = new TextDecoder();
  private rest = '';
  private lines = 0;

  constructor(order: SimulationOrder) {
    this.order = order;
  }

  /** The calls that are known to be next, after this input. Throws when a line is wrong. */
  *take(input: Input): Generator<ReplayedEvent> {
    if (input.kind === 'segment') {
      const { segment } = input;
      // Later segments begin later, so nothing can come before this one's first call any more.
      yield* this.arrivals.before(segment.first_at);
      this.addSegment(segment);
      yield* this.arrivals.before(segment.first_at);
    } else if (input.kind === 'text') {
      this.addText(this.decoder.decode(input.bytes, { stream: true }));
      yield* this.arrivals.before(Number.NEGATIVE_INFINITY);
    } else {
      this.addText(`${this.decoder.decode()}\n`);
      yield* this.arrivals.before(Number.POSITIVE_INFINITY);
    }
  }

  private addSegment(segment: Extract<Input, { kind: 'segment' }>['segment']): void {
    let events: ReturnType<typeof readSegment>;
    try {
      events = readSegment(segment);
    } catch {
      this.unreadable++;
      return;
    }
    const { organizationId, since } = this.order;
    for (const event of events) {
      if (event.organizationId !== organizationId || event.at < since) continue;
      const { requestId, at, projectId, keyId, ownerId, modelAsked, test, usage } = event;
      const { input, output, images, audioMs } = usage;
      this.arrivals.add({
        requestId,
        at,
        organizationId,
        projectId,
        keyId,
        ownerId,
        modelAsked: test ? TEST_MODEL : modelAsked,
        usage: { input, output, images, audioMs },
      });
    }
  }

  private addText(text: string): void {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop() ?? '';
    if (this.rest.length > MAX_LINE) throw new Error(`Line ${this.lines + 1} of the calls is too long.`);
    for (const line of lines) {
      this.lines++;
      if (line.trim() === '') continue;
      try {
        const event = recordedCall(line, this.lines, this.order.organizationId);
        if (event.at >= this.order.since) this.arrivals.add(event);
      } catch (error) {
        throw new Error(
          `Line ${this.lines} of the calls ${error instanceof Error ? error.message : 'cannot be read'}.`,
        );
      }
    }
  }
}

function tablesFor({ table, statements, organizationId, account }: SimulationOrder) {
  const overlay = new Overlay(tablesOf(table));
  const byHolder = new Map<string, Statement[]>();
  for (const statement of statements) {
    const name = holderName(statement);
    byHolder.set(name, [...(byHolder.get(name) ?? []), statement]);
  }
  for (const [first, ...others] of byHolder.values()) {
    if (first !== undefined) overlay.set(first, [first, ...others]);
  }
  overlay.pin(organizationId, account.pinned);
  return overlay.tables;
}

async function serve(order: SimulationOrder): Promise<void> {
  const port = parentPort;
  if (!port) throw new Error('simulation-worker runs as a worker thread only.');
  const say = (output: Output): void => port.postMessage(output);
  const inbox: Input[] = [];
  let wake: () => void = () => {};
  port.on('message', (input: Input) => {
    inbox.push(input);
    wake();
  });

  const reading = new Reading(order);
  async function* events(): AsyncGenerator<ReplayedEvent> {
    for (;;) {
      const input = inbox.shift();
      if (input === undefined) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
        continue;
      }
      yield* reading.take(input);
      if (input.kind === 'end') return;
      say({ kind: 'taken' });
    }
  }

  const tables = tablesFor(order);
  const tier = reachedTier(tables.tiers, order.account, order.now).name;
  try {
    const simulation = await simulate(tables, events(), () => tier);
    say({ kind: 'done', simulation, unreadable: reading.unreadable });
  } catch (error) {
    say({ kind: 'wrong', message: error instanceof Error ? error.message : 'The calls cannot be read.' });
  } finally {
    port.close();
  }
}

await serve(workerData);
