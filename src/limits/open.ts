// Opens the limits of this process: the table and the rows over it, and the limiter that keeps the buckets, which is
// Redis where the configuration names a server (loaded only then), else this process's memory.

import type { LimitsConfig, Secret } from '../config/model.ts';
import type { Clock } from '../platform/clock.ts';
import type { Exposition } from '../platform/exposition.ts';
import { randomBase62 } from '../platform/ids.ts';
import type { Log } from '../platform/log.ts';
import type { Store } from '../store/store.ts';
import type { Limiter } from './limiter.ts';
import { LiveLimits } from './live.ts';
import { MemoryLimiter } from './memory.ts';
import { RateLimits } from './rate-limits.ts';
import { keepRising } from './rise.ts';
import { type Table, tablesOf } from './tables.ts';

export interface LimitsOptions {
  readonly config: LimitsConfig;
  readonly redisUrl: Secret | null;
  /** This node's name. */
  readonly node: string;
  readonly store: Store;
  readonly clock: Clock;
  readonly log: Log;
}

export interface OpenLimits {
  readonly limits: RateLimits;
  readonly live: LiveLimits;
  /** The table of the configuration. */
  readonly table: Table;
  /** Writes what it counts. */
  measure(out: Exposition): void;
  /** What is wrong when no call can pass; null when calls can. */
  unready(): string | null;
  /** After the last call was settled. */
  close(): Promise<void>;
}

/** A limiter, and what is to be known about it from outside. */
interface Kept {
  readonly limiter: Limiter;
  readonly measure: OpenLimits['measure'];
  readonly unready: OpenLimits['unready'];
}

/** How long a start waits for the Redis server, so that the first calls already find it. */
const START_MS = 2_000;

export async function openLimits(options: LimitsOptions): Promise<OpenLimits> {
  const { config, redisUrl, store, clock, log } = options;
  const live = new LiveLimits(tablesOf(config.table), clock);
  await live.load(store);
  const kept = redisUrl === null ? inMemory(clock) : await inRedis(options, redisUrl);
  const limits = new RateLimits({ tables: live.tables, limiter: kept.limiter, clock, tierOf: live.tierOf });
  const stopFollowing = live.follow(store, {
    changed: () => limits.change(),
    moved: ({ organizationId, from, to }) =>
      log.info('usage tier changed', { organization_id: organizationId, from, to }),
  });
  const stopRising = keepRising({ store, clock, live, onError: (error) => log.error('usage tiers', error) });
  return {
    limits,
    live,
    table: config.table,
    measure: kept.measure,
    unready: kept.unready,
    async close() {
      await stopRising();
      await stopFollowing();
      await limits.close();
    },
  };
}

function inMemory(clock: Clock): Kept {
  const limiter = new MemoryLimiter({ clock });
  return {
    limiter,
    unready: () => null,
    measure(out) {
      out.gauge('keygate_limits_buckets', 'Buckets of rate limits that are not full.', limiter.pools);
      out.gauge('keygate_limits_bytes', 'Memory of these buckets.', limiter.bytes);
    },
  };
}

async function inRedis({ config, node, clock, log }: LimitsOptions, url: Secret): Promise<Kept> {
  const { RedisLimiter } = await import('./redis.ts');
  const whenAway = config.whenRedisIsAway;
  const policy =
    whenAway === 'closed'
      ? 'calls are answered 503 until it is back'
      : 'each node keeps its share of every limit until it is back';
  let changes = 0;
  const limiter = new RedisLimiter({
    url: url.reveal(),
    whenAway,
    timeoutMs: config.redisTimeoutMs,
    // Two processes of one machine are two nodes.
    node: `${node}:${randomBase62(8)}`,
    clock,
    onChange: ({ up, reason, nodes }) => {
      changes++;
      if (up) log.info('rate limits: the Redis server answers', { nodes });
      else log.warn(`rate limits: the Redis server is away; ${policy}`, { reason, nodes });
    },
  });
  await limiter.link.ready(START_MS);
  return {
    limiter,
    unready: () =>
      whenAway === 'closed' && !limiter.link.up
        ? 'the Redis server of the rate limits does not answer, and no call passes unchecked'
        : null,
    measure(out) {
      const { admitted, refused, unavailable, local, settlesLost, lateReturned } = limiter.counters;
      out.gauge('keygate_limits_redis_up', 'Whether the Redis server answers.', limiter.link.up ? 1 : 0);
      out.gauge('keygate_limits_nodes', 'Nodes that share the limits, as last known.', limiter.link.nodes);
      out.counter(
        'keygate_limits_redis_changes_total',
        'Times that the Redis server went away or came back.',
        [[{}, changes]],
      );
      out.counter('keygate_limits_verdicts_total', 'Verdicts on calls, by who gave them.', [
        [{ by: 'redis', verdict: 'admitted' }, admitted],
        [{ by: 'redis', verdict: 'refused' }, refused],
        [{ by: 'nobody', verdict: 'unavailable' }, unavailable],
        [{ by: 'local share', verdict: 'any' }, local],
      ]);
      out.counter('keygate_limits_settles_lost_total', 'Settlements that the Redis server did not take.', [
        [{}, settlesLost],
      ]);
      out.counter('keygate_limits_late_verdicts_total', 'Verdicts that came too late, and were given back.', [
        [{}, lateReturned],
      ]);
    },
  };
}
