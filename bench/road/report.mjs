// What was measured, as text: one table a scenario, the ratios to nginx, and whether the goals were met.

import { table } from '../lib/numbers.mjs';
import { DISTURBED, ratio } from './throughput.mjs';

const MB = 2 ** 20;

/** What is promised of the road. Each is a ratio or a figure of this run, never of another machine. */
export const GOALS = {
  ofNginx: 0.3,
  timesPortkey: 20,
  streamsOfNginx: 0.9,
  soakMb: 150,
  soakMbPerMillion: 5,
};

const digits = (value, places) => (Number.isFinite(value) ? value.toFixed(places) : '-');

/** Ratios of each target to nginx, round by round, in the order in which they ran. */
export function ratios(results) {
  const base = results.nginx;
  if (base === undefined) return {};
  return Object.fromEntries(
    Object.entries(results).map(([name, result]) => [
      name,
      {
        perSecond: ratio(result, base, 'perSecond'),
        cpuPerThousand: ratio(result, base, 'cpuPerThousand'),
        rss: result.rss / base.rss,
      },
    ]),
  );
}

/** Throughput of one scenario. `each`: what one call counts as (a stream counts as its chunks). */
export function throughputTable(results, each) {
  const relative = ratios(results);
  const unit = each === 1 ? 'calls' : 'chunks';
  const header = [
    '',
    `${unit}/s`,
    'of nginx',
    `CPU s/1000 ${unit}`,
    'x nginx',
    'p50 ms',
    'p99 ms',
    'RSS MB',
    'PSS MB',
    'core used',
    'by others',
  ];
  const rows = Object.entries(results).map(([name, result]) => [
    name,
    Math.round(result.perSecond * each),
    digits(relative[name]?.perSecond, 3),
    digits(result.cpuPerThousand / each, 4),
    digits(relative[name]?.cpuPerThousand, 2),
    digits(result.p50Ms, 2),
    digits(result.p99Ms, 2),
    digits(result.rss / MB, 0),
    digits(result.pss / MB, 0),
    digits(result.busy, 2),
    digits(result.others, 2),
  ]);
  return table(header, rows);
}

/** Latency of single spaced calls, and what each target adds to the provider's own. */
export function latencyTable(latencies) {
  const direct = latencies.direct;
  const header = ['', 'first byte p50 ms', 'p99', 'added p50', 'last byte p50 ms', 'p99', 'added p50'];
  const rows = Object.entries(latencies).map(([name, one]) => [
    name,
    digits(one.firstP50Ms, 3),
    digits(one.firstP99Ms, 3),
    name === 'direct' ? '-' : digits(one.firstP50Ms - direct.firstP50Ms, 3),
    digits(one.lastP50Ms, 3),
    digits(one.lastP99Ms, 3),
    name === 'direct' ? '-' : digits(one.lastP50Ms - direct.lastP50Ms, 3),
  ]);
  return table(header, rows);
}

/**
 * Calls a second of `a` by those of `b`. Where both had the core to themselves the clock decides; where not, what
 * the core would have done for them alone: calls a second of CPU time.
 */
function pace(a, b) {
  const alone = [...a.rounds, ...b.rounds].every((round) => round.others <= DISTURBED);
  return alone
    ? { by: 'clock', found: ratio(a, b, 'perSecond') }
    : { by: 'CPU time', found: ratio(b, a, 'cpuPerThousand') };
}

/** The goals that this run can speak to: name, what was wanted, what was found, and whether that is enough. */
export function judge({ json, stream, soak }) {
  const verdicts = [];
  const atLeast = (goal, wanted, { found, by }) =>
    verdicts.push({ goal, wanted, found, by, met: found >= wanted });
  const atMost = (goal, wanted, found) =>
    verdicts.push({ goal, wanted, found, by: '', met: found <= wanted });
  if (json?.results.keygate !== undefined) {
    const { keygate, nginx, portkey } = json.results;
    if (nginx !== undefined) atLeast('JSON calls/s, of nginx', GOALS.ofNginx, pace(keygate, nginx));
    if (portkey !== undefined)
      atLeast('JSON calls/s, times Portkey', GOALS.timesPortkey, pace(keygate, portkey));
  }
  if (stream?.results.keygate !== undefined && stream.results.nginx !== undefined) {
    // By the clock always: here the provider and its clients, which share a core, set the pace before nginx does.
    const found = ratio(stream.results.keygate, stream.results.nginx, 'perSecond');
    atLeast('streamed chunks/s, of nginx', GOALS.streamsOfNginx, { found, by: 'clock' });
  }
  if (soak?.keygate !== undefined) {
    atMost(`RSS after ${soak.keygate.calls} calls, MB`, GOALS.soakMb, soak.keygate.restRssMb);
    atMost('RSS growth, MB a million calls', GOALS.soakMbPerMillion, soak.keygate.slopeMbPerMillion);
  }
  return verdicts;
}

export function goalTable(verdicts) {
  const rows = verdicts.map(({ goal, wanted, found, by, met }) => [
    goal,
    wanted,
    digits(found, 2),
    by,
    met ? 'met' : 'NOT MET',
  ]);
  return table(['goal', 'wanted', 'found', 'by', ''], rows);
}

/** Sentences about what this run cannot claim. */
export function caveats(name, scenario) {
  const said = [];
  const { results, direct } = scenario;
  const nginx = results.nginx;
  if (nginx !== undefined && direct < 1.5 * nginx.perSecond) {
    said.push(
      `${name}: the provider alone gives ${Math.round(direct)} calls/s, less than 1.5 times what came through nginx ` +
        `(${Math.round(nginx.perSecond)}): the load generator's core may have set nginx's pace. CPU time is not affected.`,
    );
  }
  for (const [target, result] of Object.entries(results)) {
    if (scenario.saturated && result.busy + result.others < 0.85) {
      said.push(
        `${name}: ${target} used only ${digits(result.busy, 2)} of its core: it was not the bottleneck.`,
      );
    }
    if (result.others > DISTURBED) {
      said.push(`${name}: other programs used ${digits(result.others, 2)} of the core beside ${target}.`);
    }
  }
  return said;
}
