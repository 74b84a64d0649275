// What four levels of hard budgets cost the road: the same server twice, with and without them, driven in turn.

import { fixedReply } from '../lib/nginx.mjs';
import { freePort } from '../lib/processes.mjs';
import { json } from '../road/calls.mjs';
import { alternate, ratio } from '../road/throughput.mjs';
import { issueKeys, mintAdmin, setBudgets, settled, startServer } from './server.mjs';

const END_USERS = 16;

/** Every call names an end user, on both servers, so that the fourth level has somebody to count for. */
const call = {
  ...json,
  request: {
    ...json.request,
    bodies: json.request.bodies.map((body, i) =>
      JSON.stringify({ ...JSON.parse(body), user: `user-${i % END_USERS}` }),
    ),
  },
};

export async function measureRoad({ tools, core, generatorCore, rounds, seconds, say }) {
  const port = await freePort();
  const provider = await fixedReply({ program: tools.nginx, port, body: json.reply, core: generatorCore });
  const servers = [];
  try {
    const admin = mintAdmin();
    for (const name of ['off', 'on']) {
      say(`starting keygate with budgets ${name}`);
      const server = await startServer({ name, provider: port, core, admin });
      servers.push(server);
      const { project, keys } = await issueKeys(server, admin);
      server.keys = keys;
      if (name === 'on') await setBudgets(server, admin, project);
    }
    const options = { program: tools.wrk, connections: 64, rounds, seconds, warmup: 4, core, generatorCore };
    const results = await alternate(servers, call, { ...options, patienceMs: 0, restMs: 500 }, say);
    const spent = await settled(servers[1], admin);
    // 24 tokens in, 19 out, at the configured prices.
    const expected = servers[1].calls * (24 * 0.15e-6 + 19 * 0.6e-6);
    if (!(spent > expected * 0.9)) throw new Error(`the budgets settled ${spent} of ${expected} dollars`);
    return {
      offPerSecond: results.off.perSecond,
      onPerSecond: results.on.perSecond,
      ratio: ratio(results.on, results.off, 'perSecond'),
      cpuRatio: ratio(results.on, results.off, 'cpuPerThousand'),
      rounds: results.on.rounds.map(({ perSecond }, i) => [results.off.rounds[i].perSecond, perSecond]),
      settledDollars: spent,
    };
  } finally {
    for (const { child } of servers) await child.stop();
    await provider.stop();
  }
}
