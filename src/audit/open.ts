// Brings the audit log's streams and retention up, as the configuration says.

import type { AuditConfig } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Exposition } from '../platform/exposition.ts';
import type { Outgoing } from '../platform/outgoing.ts';
import type { Store } from '../store/store.ts';
import { announceEntries } from './announce.ts';
import { pruneAudit } from './retain.ts';
import { AuditStream, takenByAll } from './stream.ts';
import { syslogSink } from './syslog.ts';
import { auditWebhook } from './webhook.ts';

const PRUNE_EVERY_MS = 3_600_000;

export interface OpenAudit {
  readonly streams: readonly AuditStream[];
  /** What one node at a time does beside deliveries: announcing entries to endpoints, and retention. */
  readonly chores: readonly (() => Promise<void>)[];
  start(): void;
  measure(out: Exposition): void;
  close(): Promise<void>;
}

export function openAudit(options: {
  readonly config: AuditConfig;
  readonly store: Store;
  readonly clock: Clock;
  readonly node: string;
  readonly outgoing: Outgoing;
  /** Authorities for the syslog receiver beside the system's. */
  readonly ca?: string;
  readonly onError: (error: unknown) => void;
}): OpenAudit {
  const { config, store, clock, node, outgoing } = options;
  const sinks = [
    ...(config.syslog === null
      ? []
      : [syslogSink({ url: config.syslog, node, ...(options.ca !== undefined && { ca: options.ca }) })]),
    ...(config.webhookUrl === null
      ? []
      : [
          auditWebhook({
            url: config.webhookUrl,
            secret: config.webhookSecret,
            outgoing,
            now: () => clock.now(),
          }),
        ]),
  ];
  const streams = sinks.map((sink) => new AuditStream({ ...options, sink }));
  const { retentionMs } = config;
  let pruneAt = Number.NEGATIVE_INFINITY;
  const prune = async () => {
    if (retentionMs === null || pruneAt > clock.monotonic()) return;
    pruneAt = clock.monotonic() + PRUNE_EVERY_MS;
    const names = [...sinks.map(({ name }) => name), 'endpoints'];
    await pruneAudit(store, clock, retentionMs, () => takenByAll(store.db, names));
  };
  return {
    streams,
    chores: [() => announceEntries(store, clock), prune],
    start: () => {
      for (const stream of streams) stream.start();
    },
    measure: (out) => {
      if (streams.length === 0) return;
      const by = (value: (stream: AuditStream) => number) =>
        streams.map((stream) => [{ stream: stream.name }, value(stream)] as const);
      out.counter(
        'keygate_audit_streamed_total',
        'Entries of the audit log that this process streamed.',
        by(({ sent }) => sent),
      );
      out.counter(
        'keygate_audit_stream_failures_total',
        'Goes of this process that a receiver did not take.',
        by(({ failed }) => failed),
      );
      out.gauges(
        'keygate_audit_stream_behind',
        'Entries that wait for a receiver that fails.',
        by(({ behind }) => behind),
      );
    },
    close: async () => {
      await Promise.all(streams.map((stream) => stream.stop()));
    },
  };
}
