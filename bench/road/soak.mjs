// Memory over many calls: one target driven at saturation until so many calls have been answered, its memory read
// every second. The slope is that of the second half, when caches and the code that V8 compiles have settled.

import { setTimeout as delay } from 'node:timers/promises';
import { requestsSeen } from '../lib/nginx.mjs';
import { slope } from '../lib/numbers.mjs';
import { memory } from '../lib/processes.mjs';
import { drive } from './throughput.mjs';

const MB = 2 ** 20;
const SLICE_SECONDS = 20;
/** Time for the recorder and the garbage collector after the last call. */
const REST_MS = 5_000;

export async function soak(target, provider, call, calls, options, say) {
  const samples = [];
  const before = await requestsSeen(provider.port);
  const sample = async () => {
    // The provider counts the calls that reach it, and our asking for the count.
    const made = (await requestsSeen(provider.port)) - before - samples.length - 1;
    const { rss, pss } = memory(target.child.pid);
    samples.push({ calls: made, rssMb: rss / MB, pssMb: pss / MB });
  };
  await sample();
  let answered = 0;
  while (answered < calls) {
    const slice = drive(target, call, { ...options, seconds: SLICE_SECONDS });
    for (let second = 1; second < SLICE_SECONDS; second++) {
      await delay(1_000);
      await sample();
    }
    const result = await slice;
    answered += result.requests;
    await sample();
    say(`soak: ${target.name} ${answered} calls, ${samples.at(-1).rssMb.toFixed(0)} MB`);
  }
  const peak = Math.max(...samples.map(({ rssMb }) => rssMb));
  const late = samples.filter((one) => one.calls >= answered / 2);
  await delay(REST_MS);
  await sample();
  return {
    calls: answered,
    startRssMb: samples[0].rssMb,
    peakRssMb: peak,
    endRssMb: late.at(-1).rssMb,
    restRssMb: samples.at(-1).rssMb,
    restPssMb: samples.at(-1).pssMb,
    slopeMbPerMillion: slope(late.map((one) => [one.calls / 1e6, one.rssMb])),
    samples,
  };
}

/** The curve as text: about `points` of the samples, a bar each. */
export function curve(samples, points = 24) {
  const top = Math.max(...samples.map(({ rssMb }) => rssMb));
  const step = Math.max(1, Math.ceil(samples.length / points));
  return samples
    .filter((_, i) => i % step === 0 || i === samples.length - 1)
    .map(({ calls, rssMb, pssMb }) => {
      const bar = '#'.repeat(Math.round((rssMb / top) * 50));
      return `${String(Math.round(calls)).padStart(9)} calls  ${rssMb.toFixed(1).padStart(7)} MB  (PSS ${pssMb.toFixed(1)})  ${bar}`;
    })
    .join('\n');
}
