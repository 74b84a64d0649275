// What a project's controls cost a call: `node bench/controls/run.mjs [--calls 300000] [--only NAME]`.
//
// Runs the step of the road that asks them (authorize: headers, addresses, scope, controls, route) on calls that are
// already understood, with nothing set and with each control, and prints nanoseconds a call: of the quickest thousand
// calls, so that what else the machine does is left out, and of the middle one.

import { parseArgs } from 'node:util';
import { controlsOf } from '../../src/controls/controls.ts';
import { Pseudonyms } from '../../src/controls/pseudonyms.ts';
import { authorize } from '../../src/gateway/authorize.ts';
import { Call } from '../../src/gateway/call.ts';
import { matchOperation } from '../../src/gateway/operations.ts';
import { OrderPeer } from '../../src/gateway/order-peer.ts';
import { States } from '../../src/keys/states.ts';
import { table } from '../lib/numbers.mjs';

const { values } = parseArgs({
  options: { calls: { type: 'string', default: '300000' }, only: { type: 'string' } },
});
const calls = Number(values.calls);

const WORDS = 'The quick brown fox jumps over the lazy dog. '.repeat(20);
const json = {
  model: 'gpt-x',
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: WORDS },
  ],
  tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object', properties: {} } } }],
};
const body = Buffer.from(JSON.stringify(json));
const match = matchOperation('POST', '/chat/completions');
const route = {
  model: 'gpt-x',
  targets: [{ provider: { name: 'p', environments: null }, model: 'gpt-x', weight: 1, priority: 0 }],
  within: null,
};
const rights = {
  routes: { find: () => route },
  pseudonyms: new Pseudonyms(Buffer.alloc(32)),
  prompts: null,
  proxies: null,
};

const settings = {
  nothing: null,
  'an allow list of 50 models': {
    model_permissions: {
      mode: 'allow_list',
      model_ids: ['gpt-x', ...Array.from({ length: 49 }, (_, n) => `m${n}`)],
    },
  },
  'a hosted tool forbidden': { forbidden_tools: ['web_search'] },
  'service tiers': { service_tiers: { default: 'standard', enabled_tiers: [] } },
  'zero data retention': { data_retention: 'zero_data_retention' },
};

const states = new States(() => null);
const rows = [];
for (const [name, set] of Object.entries(settings)) {
  if (values.only !== undefined && values.only !== name) continue;
  const project = states.project(`proj_${name}`, 'org-1');
  project.active = true;
  project.settings = set;
  project.controls = controlsOf(set, null);
  const principal = {
    type: 'project',
    organizationId: project.organizationId,
    organization: project.organization,
    project,
    scopes: [],
    models: null,
    addresses: null,
    rights: { has: () => true },
  };
  const made = () => {
    const call = new Call(new OrderPeer('/v1/chat/completions', body, 'k'), { gone: () => {} }, 'req_', 0, 0);
    call.operation = match.found;
    call.principal = principal;
    call.body = body;
    call.json = json;
    call.asked = { ...call.asked, model: 'gpt-x', endUser: 'ada' };
    return call;
  };
  const batch = 1000;
  const times = [];
  for (let at = -20 * batch; at < calls; at += batch) {
    const all = Array.from({ length: batch }, made);
    const began = process.hrtime.bigint();
    for (const call of all)
      if (authorize(call, rights, () => {}) !== null) throw new Error('a call was refused');
    if (at >= 0) times.push(Number(process.hrtime.bigint() - began) / batch);
  }
  times.sort((a, b) => a - b);
  rows.push([name, String(Math.round(times[0])), String(Math.round(times[times.length >> 1]))]);
}
console.log(table(['controls', 'ns, quickest', 'ns, middle'], rows));
