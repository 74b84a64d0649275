// What the road counts, for /metrics. On the road it is plain numbers; they are put into words when somebody asks.

import { Exposition, type Labels } from '../platform/exposition.ts';
import type { UsageEvent } from '../spend/usage.ts';

/** Upper bounds of the buckets, in seconds. */
const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300] as const;

class Histogram {
  readonly counts = new Float64Array(BUCKETS.length + 1);
  /** In seconds. */
  sum = 0;

  observe(ms: number): void {
    const seconds = ms / 1000;
    let at = 0;
    while (at < BUCKETS.length && seconds > (BUCKETS[at] ?? 0)) at++;
    this.counts[at] = (this.counts[at] ?? 0) + 1;
    this.sum += seconds;
  }
}

class OperationCounts {
  readonly calls = new Map<number, number>();
  readonly outcomes = new Map<string, number>();
  readonly duration = new Histogram();
  readonly firstByte = new Histogram();
  input = 0;
  output = 0;
}

/** Numbers that others keep and that are read when asked for. */
export interface Readings {
  readonly underway: () => number;
  readonly pendingEvents: () => number;
  readonly recordedEvents: () => number;
  readonly journalRefusals: () => number;
  readonly keys: () => number;
  readonly providers: () => Iterable<{
    readonly name: string;
    readonly sent: number;
    readonly failed: number;
  }>;
  /** Writes what the rate limits count. */
  readonly limits: (out: Exposition) => void;
  /** Write what others count. */
  readonly others: readonly ((out: Exposition) => void)[];
}

export class Metrics {
  readonly #byOperation = new Map<string, OperationCounts>();
  readonly #refusals = new Map<string, { labels: Labels; calls: number }>();

  /** A call that was forwarded and has ended. */
  observe(event: UsageEvent): void {
    let counts = this.#byOperation.get(event.operation);
    if (counts === undefined) {
      counts = new OperationCounts();
      this.#byOperation.set(event.operation, counts);
    }
    counts.calls.set(event.status, (counts.calls.get(event.status) ?? 0) + 1);
    if (event.outcome !== 'ok') {
      counts.outcomes.set(event.outcome, (counts.outcomes.get(event.outcome) ?? 0) + 1);
    }
    counts.duration.observe(event.durationMs);
    if (event.firstByteMs > 0) counts.firstByte.observe(event.firstByteMs);
    counts.input += event.usage.input;
    counts.output += event.usage.output;
  }

  /** A call that was refused before it was forwarded. */
  refused(status: number, code: string | null): void {
    const key = `${status} ${code}`;
    const known = this.#refusals.get(key);
    if (known !== undefined) known.calls++;
    else this.#refusals.set(key, { labels: { status, code: code ?? '' }, calls: 1 });
  }

  /** The exposition text. */
  text(readings: Readings): string {
    const out = new Exposition();
    const memory = process.memoryUsage();
    const cpu = process.cpuUsage();
    out.counter('process_cpu_seconds_total', 'CPU time used, in seconds.', [
      [{}, (cpu.user + cpu.system) / 1e6],
    ]);
    out.gauge('process_resident_memory_bytes', 'Resident memory.', memory.rss);
    out.gauge('nodejs_heap_used_bytes', 'JavaScript heap in use.', memory.heapUsed);
    out.gauge(
      'process_start_time_seconds',
      'Start, in seconds since the epoch.',
      performance.timeOrigin / 1000,
    );
    out.gauge('keygate_calls_underway', 'Calls admitted and not settled yet.', readings.underway());
    out.gauge('keygate_keys', 'Usable keys held in memory.', readings.keys());
    out.gauge(
      'keygate_usage_events_pending',
      'Usage events not durable yet, calls under way included.',
      readings.pendingEvents(),
    );
    out.counter('keygate_usage_events_recorded_total', 'Usage events made durable by this process.', [
      [{}, readings.recordedEvents()],
    ]);
    out.counter(
      'keygate_journal_refusals_total',
      'Groups of usage events that the store refused; they are offered again.',
      [[{}, readings.journalRefusals()]],
    );
    out.counter('keygate_calls_total', 'Forwarded calls by operation and status.', this.#calls());
    out.counter(
      'keygate_calls_broken_total',
      'Forwarded calls that did not end well, by how.',
      this.#broken(),
    );
    out.counter(
      'keygate_refusals_total',
      'Calls refused before they were forwarded.',
      [...this.#refusals.values()].map(({ labels, calls }) => [labels, calls] as const),
    );
    out.counter('keygate_tokens_total', 'Tokens used.', this.#tokens());
    readings.limits(out);
    for (const measure of readings.others) measure(out);
    out.counter(
      'keygate_provider_calls_total',
      'Calls sent to a provider, and those of them that failed.',
      providerCalls(readings),
    );
    out.histogram(
      'keygate_call_duration_seconds',
      'From arrival to end.',
      BUCKETS,
      this.#histograms('duration'),
    );
    out.histogram(
      'keygate_first_byte_seconds',
      "From arrival to the provider's first byte.",
      BUCKETS,
      this.#histograms('firstByte'),
    );
    return out.text();
  }

  *#calls(): Generator<[Labels, number]> {
    for (const [operation, counts] of this.#byOperation) {
      for (const [status, calls] of counts.calls) yield [{ operation, status }, calls];
    }
  }

  *#broken(): Generator<[Labels, number]> {
    for (const [operation, counts] of this.#byOperation) {
      for (const [outcome, calls] of counts.outcomes) yield [{ operation, outcome }, calls];
    }
  }

  *#tokens(): Generator<[Labels, number]> {
    for (const [operation, { input, output }] of this.#byOperation) {
      yield [{ operation, kind: 'input' }, input];
      yield [{ operation, kind: 'output' }, output];
    }
  }

  *#histograms(which: 'duration' | 'firstByte') {
    for (const [operation, counts] of this.#byOperation) {
      yield { labels: { operation }, counts: counts[which].counts, sum: counts[which].sum };
    }
  }
}

function* providerCalls(readings: Readings): Generator<[Labels, number]> {
  for (const { name: provider, sent, failed } of readings.providers()) {
    yield [{ provider, result: 'sent' }, sent];
    yield [{ provider, result: 'failed' }, failed];
  }
}
