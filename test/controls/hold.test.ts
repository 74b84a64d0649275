// What a control looked at is what is sent: whatever a body looks like, it is refused, or every parser reads the same in
// the members that matter. And what a call may cost is reckoned by the tier that is sent.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { controlsOf } from '../../src/controls/controls.ts';
import { Pseudonyms } from '../../src/controls/pseudonyms.ts';
import type { ProjectSettings } from '../../src/controls/settings.ts';
import { Call, type ProjectPrincipal } from '../../src/gateway/call.ts';
import { hold } from '../../src/gateway/controls.ts';
import { matchOperation } from '../../src/gateway/operations.ts';
import { OrderPeer } from '../../src/gateway/order-peer.ts';
import { toolsAsked } from '../../src/gateway/tools.ts';
import { States } from '../../src/keys/states.ts';
import { insertMember, ObjectScan, replaceMember } from '../../src/platform/json-scan.ts';

const pseudonyms = new Pseudonyms(Buffer.alloc(32));
const states = new States(() => null);

/** The call after its controls, or null where it is refused. */
function held(path: string, text: string, settings: ProjectSettings): Call | null {
  const match = matchOperation('POST', path);
  if (typeof match === 'string') throw new Error('No such operation.');
  const body = Buffer.from(text);
  const call = new Call(new OrderPeer(path, body, 'k'), { gone: () => {} }, 'req_0' as Call['id'], 0, 0);
  call.operation = match.found;
  call.body = body;
  call.json = JSON.parse(text) as Record<string, unknown>;
  call.asked = { ...call.asked, model: 'm' };
  const project = states.project('proj_1', 'org-1');
  const controls = controlsOf(settings, null);
  if (controls === null) return call;
  return hold(call, { project } as ProjectPrincipal, controls, pseudonyms) === null ? call : null;
}

/** As forwarding does it. */
function sent(call: Call): Buffer {
  let body = call.body ?? Buffer.alloc(0);
  for (const [name, value] of call.members ?? []) {
    const scan = ObjectScan.over(body, Number.POSITIVE_INFINITY, new Set([name]));
    if (!(scan instanceof ObjectScan)) throw new Error('A body that was let through cannot be read again.');
    const member = scan.members.get(name);
    body = member === undefined ? insertMember(body, scan, name, value) : replaceMember(body, member, value);
  }
  return body;
}

const quoted = (name: string) =>
  fc.constantFrom(JSON.stringify(name), `"\\u00${name.charCodeAt(0).toString(16)}${name.slice(1)}"`);
const toolText = fc
  .array(
    fc.tuple(
      fc.constantFrom('type', 'name', 'tools').chain(quoted),
      fc.constantFrom('"function"', '"web_search"', '"mcp"', '"f"', '[{"type":"web_search"}]', '[]'),
    ),
    { maxLength: 4 },
  )
  .map((members) => `{${members.map(([name, value]) => `${name}: ${value}`).join(', ')}}`);
const toolsText = fc.array(toolText, { maxLength: 3 }).map((tools) => `[${tools.join(' ,')}]`);
const value = fc.oneof(
  toolsText,
  toolText,
  toolsText.map((tools) => `[{"type":"additional_tools","tools":${tools}}]`),
  fc.constantFrom('true', 'false', 'null', '"auto"', '"priority"', '"x"', '{"id":"p"}', '[]'),
);
const name = fc.constantFrom('tools', 'tool_choice', 'input', 'store', 'service_tier', 'prompt', 'other');
const bodyText = fc
  .array(fc.tuple(name.chain(quoted), value), { maxLength: 6 })
  .map((members) => `{"model":"m"${members.map(([key, text]) => `, ${key}: ${text}`).join('')}}`);
const settings: fc.Arbitrary<ProjectSettings> = fc.record(
  {
    forbidden_tools: fc.constant(['web_search' as const]),
    service_tiers: fc.constant({ default: 'fast' as const, enabled_tiers: ['fast' as const] }),
    data_retention: fc.constant('zero_data_retention' as const),
  },
  { requiredKeys: [] },
);

describe('a body under controls', () => {
  it('is refused, or says to every parser what was looked at, and only what is allowed', () => {
    let through = 0;
    fc.assert(
      fc.property(
        bodyText,
        settings,
        fc.constantFrom('/responses', '/chat/completions'),
        (text, set, path) => {
          fc.pre(Object.keys(set).length > 0);
          const call = held(path, text, set);
          if (call === null) return;
          through++;
          const body = sent(call);
          const looked = new Set(['tools', 'input', 'store', 'service_tier', 'prompt', 'tool_choice']);
          const scan = ObjectScan.over(body, Number.POSITIVE_INFINITY, looked);
          if (!(scan instanceof ObjectScan)) throw new Error(`Two parsers differ on ${body.toString()}`);
          const json = JSON.parse(body.toString()) as Record<string, unknown>;
          if (set.forbidden_tools !== undefined) {
            const asked = toolsAsked(json);
            expect(asked.hosted.has('web_search')).toBe(false);
            for (const member of asked.members) {
              const place = scan.members.get(member);
              // Without a member that stands twice anywhere in it, the text is the one that it is written as.
              expect(body.toString('utf8', place?.start, place?.end)).toBe(JSON.stringify(json[member]));
            }
          }
          if (set.service_tiers !== undefined)
            expect(['default', 'fast', 'priority']).toContain(json['service_tier']);
          if (set.data_retention !== undefined && path === '/responses') expect(json['store']).toBe(false);
          if (set.data_retention !== undefined) expect(json['store'] ?? false).toBe(false);
        },
      ),
      { numRuns: 5_000 },
    );
    expect(through).toBeGreaterThan(500);
  });

  it('is reckoned by the tier that is sent', () => {
    const tiers = { service_tiers: { default: 'fast', enabled_tiers: 'all' } } as const;
    for (const text of [
      '{"model":"m"}',
      '{"model":"m","service_tier":"auto"}',
      '{"model":"m","service_tier":null}',
    ]) {
      const call = held('/chat/completions', text, tiers);
      expect(call?.json?.['service_tier']).toBe('priority');
      expect(call?.members?.get('service_tier')).toBe('"priority"');
    }
    expect(held('/chat/completions', '{"model":"m","service_tier":"flex"}', tiers)?.members).toBeNull();
  });
});
