import { afterEach, describe, expect, test } from 'vitest';
import { ManualClock } from '../../src/platform/clock.ts';
import { type CountThread, TokenCounter, type TokenCounterOptions } from '../../src/spend/count.ts';
import type { CountAnswer, CountJob } from '../../src/spend/count-worker.ts';

class FakeThread implements CountThread {
  readonly jobs: CountJob[] = [];
  terminated = false;
  #answer: (answer: CountAnswer) => void = () => {};
  #exit: () => void = () => {};

  on(event: 'message' | 'exit' | 'error', listener: (value: never) => void): void {
    if (event === 'message') this.#answer = listener as (answer: CountAnswer) => void;
    if (event === 'exit') this.#exit = listener as () => void;
  }
  postMessage(job: CountJob): void {
    this.jobs.push(job);
  }
  terminate(): Promise<void> {
    this.terminated = true;
    return Promise.resolve();
  }
  answer(tokens: number): void {
    this.#answer({ id: this.jobs.at(-1)?.id ?? 0, count: { tokens, exact: true } });
  }
  die(): void {
    this.#exit();
  }
}

/** Timers that run only when told to. */
class Timers {
  readonly set = new Set<{ ms: number; then: () => void }>();
  after = (ms: number, then: () => void): (() => void) => {
    const timer = { ms, then };
    this.set.add(timer);
    return () => this.set.delete(timer);
  };
  fire(ms: number): void {
    for (const timer of [...this.set].filter((each) => each.ms === ms)) {
      this.set.delete(timer);
      timer.then();
    }
  }
}

function fakes(options: TokenCounterOptions = {}) {
  const threads: FakeThread[] = [];
  const timers = new Timers();
  const clock = new ManualClock();
  const counter = new TokenCounter({
    clock,
    after: timers.after,
    thread: () => {
      const thread = new FakeThread();
      threads.push(thread);
      return thread;
    },
    ...options,
  });
  const last = (): FakeThread => {
    const thread = threads.at(-1);
    if (!thread) throw new Error('no thread was started');
    return thread;
  };
  return { counter, threads, timers, clock, last };
}

const estimated = (bytes: number) => ({ tokens: Math.ceil(bytes / 4), exact: false });

describe('the tokenizer thread', () => {
  test('starts with the first count and is let go when it has not been needed for a while', async () => {
    const { counter, threads, timers, last } = fakes({ idleMs: 5_000 });
    expect(counter.running).toBe(false);
    const first = counter.count('text', 'hello', 'gpt-4o');
    last().answer(1);
    expect(await first).toEqual({ tokens: 1, exact: true });
    expect(counter.running).toBe(true);
    timers.fire(5_000);
    expect(counter.running).toBe(false);
    expect(threads[0]?.terminated).toBe(true);
    const second = counter.count('text', 'hello', 'gpt-4o');
    last().answer(1);
    await second;
    expect(threads).toHaveLength(2);
  });

  test('is kept for twice as long each time that it is missed soon, and as before when it is not', async () => {
    const { counter, timers, last, clock } = fakes({ idleMs: 3_000 });
    const letGoAfter = async (ms: number) => {
      const count = counter.count('text', 'hello', 'gpt-4o');
      last().answer(1);
      await count;
      timers.fire(ms);
      expect(counter.running).toBe(false);
    };
    await letGoAfter(3_000);
    clock.advance(9_999);
    await letGoAfter(6_000);
    await letGoAfter(12_000);
    clock.advance(10_000);
    await letGoAfter(3_000);
  });

  test('a death costs one count: it is estimated, and the rest are counted by a new thread', async () => {
    const { counter, threads, last } = fakes();
    const deadly = counter.count('text', 'a deadly text', 'gpt-4o');
    const next = counter.count('text', 'hello', 'gpt-4o');
    last().die();
    expect(await deadly).toEqual(estimated(13));
    expect(threads).toHaveLength(2);
    last().answer(1);
    expect(await next).toEqual({ tokens: 1, exact: true });
  });

  test('a count that takes too long is estimated and its thread replaced', async () => {
    const { counter, threads, timers } = fakes({ jobMs: 10_000 });
    const slow = counter.count('text', 'slow', 'gpt-4o');
    timers.fire(10_000);
    expect(await slow).toEqual(estimated(4));
    expect(threads[0]?.terminated).toBe(true);
  });

  test('after three deaths in a row everything is estimated for a minute, then it is tried again', async () => {
    const { counter, threads, clock, last } = fakes();
    const counts = Array.from({ length: 5 }, () => counter.count('text', '12345678', 'gpt-4o'));
    for (let death = 0; death < 3; death++) last().die();
    expect(await Promise.all(counts)).toEqual(Array.from({ length: 5 }, () => estimated(8)));
    expect(await counter.count('text', '12345678', 'gpt-4o')).toEqual(estimated(8));
    expect(threads).toHaveLength(3);
    clock.advance(60_000);
    const again = counter.count('text', '12345678', 'gpt-4o');
    last().answer(8);
    expect(await again).toEqual({ tokens: 8, exact: true });
  });

  test('what is too big, or finds the queue full, is estimated at once: nothing waits without bound', async () => {
    const { counter, last } = fakes({ inputBytes: 100, queuedJobs: 2, queuedBytes: 120 });
    expect(await counter.count('text', 'x'.repeat(101), 'gpt-4o')).toEqual(estimated(101));
    const running = counter.count('text', 'a', 'gpt-4o');
    const waiting = counter.count('text', 'b'.repeat(100), 'gpt-4o');
    expect(await counter.count('text', 'c'.repeat(21), 'gpt-4o')).toEqual(estimated(21));
    const second = counter.count('text', 'd', 'gpt-4o');
    expect(await counter.count('text', 'e', 'gpt-4o')).toEqual(estimated(1));
    for (let i = 0; i < 3; i++) last().answer(7);
    expect(await Promise.all([running, waiting, second])).toEqual(
      Array.from({ length: 3 }, () => ({ tokens: 7, exact: true })),
    );
  });

  test('closing answers whatever still waits with its estimate, and later counts too', async () => {
    const { counter, last } = fakes();
    const counts = ['one', 'two two'].map((text) => counter.count('text', text, 'gpt-4o'));
    await counter.close();
    expect(await Promise.all(counts)).toEqual([estimated(3), estimated(7)]);
    expect(await counter.count('text', 'late', 'gpt-4o')).toEqual(estimated(4));
    expect(last().terminated).toBe(true);
  });

  test('an empty text takes no tokens and no thread', async () => {
    const { counter, threads } = fakes();
    expect(await counter.count('text', '', 'gpt-4o')).toEqual({ tokens: 0, exact: true });
    expect(threads).toHaveLength(0);
  });
});

describe('counting on the real thread', () => {
  const counter = new TokenCounter();
  afterEach(() => counter.close());

  test('texts, raw request bodies, and a body that is no JSON are all answered', async () => {
    const body = Buffer.from(
      JSON.stringify({ model: 'gpt-4o', messages: [{ role: 'user', content: 'hello' }] }),
    );
    const broken = Buffer.from('{"messages":[');
    expect(
      await Promise.all([
        counter.count('text', 'hello world', 'gpt-4o'),
        counter.count('text', 'hello world', 'some-local-model'),
        counter.count('request-json', body, 'gpt-4o'),
        counter.count('request-json', broken, 'gpt-4o'),
      ]),
    ).toEqual([
      { tokens: 2, exact: true },
      { tokens: 2, exact: false },
      { tokens: 8, exact: true },
      estimated(broken.length),
    ]);
  });
});
