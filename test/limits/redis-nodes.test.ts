// Several processes, one Redis: together they admit what the limit says, and all of it.

import { execFile } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { DIMENSIONS, type Dimension } from '../../src/limits/model.ts';
import { connectRedis, REDIS_URL, type TestRedis } from './redis.ts';
import { LOADS } from './redis-loads.ts';

const run = promisify(execFile);
const RUN_MS = 3_000;
const NODES = 3;
const CLIENTS = 64;
const output = z.object({ admitted: z.record(z.string(), z.number()), lost: z.number() });

describe('three processes with 64 clients on one Redis', () => {
  const opened: TestRedis[] = [];
  afterAll(async () => {
    for (const each of opened) await each.close();
  });

  test('admit in each dimension no more than the limit and its refill, and at least 99 in 100 of that', async () => {
    const prefix = `kgtest:${randomUUID()}:`;
    opened.push(await connectRedis({ prefix }));
    const script = fileURLToPath(new URL('./redis-node.ts', import.meta.url));
    const begin = Date.now() + 2_500;
    const clients = splitClients(CLIENTS, NODES);
    const began = performance.now();
    const results = await Promise.all(
      clients.map((count) =>
        run(process.execPath, [script, REDIS_URL, prefix, String(RUN_MS), String(count), String(begin)]),
      ),
    );
    const longest = performance.now() - began;
    const nodes = results.map(({ stdout }) => output.parse(JSON.parse(stdout)));
    const seen: Record<string, number> = {};
    for (const [name, { limit, amount }] of Object.entries(LOADS)) {
      const { periodMs } = DIMENSIONS[name as Dimension];
      const admitted = nodes.reduce((sum, node) => sum + (node.admitted[name] ?? 0), 0);
      const refill = (ms: number): number => (periodMs === 0 ? 0 : (limit * ms) / periodMs);
      // At most: everything that the clock can have given back from the first to the last moment of any process.
      expect(admitted, name).toBeLessThanOrEqual(limit + refill(longest));
      // At least: what RUN_MS gave back, less one call that was about to pass at the end.
      seen[name] = (admitted + amount) / (limit + refill(RUN_MS));
      expect(seen[name], name).toBeGreaterThanOrEqual(0.99);
    }
    expect(nodes.every((node) => node.lost === 0)).toBe(true);
  }, 60_000);
});

function splitClients(clients: number, nodes: number): number[] {
  return Array.from({ length: nodes }, (_, i) => Math.floor((clients + i) / nodes));
}
