import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { insertMember, ObjectScan, replaceMember } from '../../src/platform/json-scan.ts';

const NAMES = new Set(['model', 'stream', 'stream_options']);

function scan(text: string, depth = 64): ObjectScan {
  const found = ObjectScan.over(Buffer.from(text), depth, NAMES);
  if (!(found instanceof ObjectScan)) throw new Error(`refused: ${found}`);
  return found;
}

function depthOf(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

const spacing = fc.constantFrom(undefined, 1, 2, '\t');
const bodies = fc.record(
  {
    model: fc.oneof(fc.string({ unit: 'grapheme' }), fc.constant('a"b\\')),
    stream: fc.boolean(),
    stream_options: fc.jsonValue(),
    messages: fc.jsonValue(),
    'naïve "name"': fc.jsonValue(),
  },
  { requiredKeys: [] },
);

describe('looking over a JSON body before it is parsed', () => {
  it('finds exactly the bytes of each member of interest', () => {
    fc.assert(
      fc.property(bodies, spacing, (body, space) => {
        const { 'naïve "name"': odd, ...plain } = body;
        const text = JSON.stringify({ ...plain, other: odd ?? null }, null, space);
        const bytes = Buffer.from(text);
        const { members } = scan(text, 1_000);
        for (const name of NAMES) {
          const member = members.get(name);
          const value: unknown = Reflect.get(plain, name);
          if (value === undefined) expect(member).toBeUndefined();
          else {
            const slice = bytes.toString('utf8', member?.start, member?.end);
            expect(JSON.parse(slice)).toEqual(JSON.parse(JSON.stringify(value)));
            expect(slice).toBe(slice.trim());
          }
        }
      }),
    );
  });

  it('replaces or inserts a member and leaves every other byte as it was', () => {
    fc.assert(
      fc.property(bodies, spacing, fc.jsonValue(), (body, space, value) => {
        const { 'naïve "name"': _odd, ...plain } = body;
        const text = JSON.stringify(plain, null, space);
        const bytes = Buffer.from(text);
        const found = scan(text, 1_000);
        const member = found.members.get('model');
        const out =
          member === undefined
            ? insertMember(bytes, found, 'model', JSON.stringify(value))
            : replaceMember(bytes, member, JSON.stringify(value));
        const again = JSON.parse(JSON.stringify(value)) as unknown;
        expect(JSON.parse(out.toString())).toEqual({ ...JSON.parse(text), model: again });
      }),
    );
  });

  it('refuses a body exactly when it nests deeper than allowed', () => {
    fc.assert(
      fc.property(
        fc.dictionary(fc.string({ unit: fc.constantFrom('a', 'b', '{', '[', '"') }), fc.jsonValue()),
        fc.integer({ min: 1, max: 6 }),
        (body, most) => {
          // Names that JSON writes with an escape are refused for another reason.
          fc.pre(!Object.keys(body).some((name) => name.includes('"')));
          const found = ObjectScan.over(Buffer.from(JSON.stringify(body)), most, NAMES);
          if (depthOf(body) > most) expect(found).toBe('too_deep');
          else expect(found).toBeInstanceOf(ObjectScan);
        },
      ),
    );
  });

  it('refuses what two parsers could read differently', () => {
    const over = (text: string): unknown => ObjectScan.over(Buffer.from(text), 8, NAMES);
    expect(over('{"model":"a","model":"b"}')).toBe('ambiguous');
    expect(over('{"mod\\u0065l":"b","model":"a"}')).toBe('ambiguous');
    expect(over('{"x":{"mod\\u0065l":1,"model":1,"model":2},"model":"a"}')).toBeInstanceOf(ObjectScan);
    expect(over('[1]')).toBe('not_an_object');
    expect(over('')).toBe('not_an_object');
    expect(over('"text"')).toBe('not_an_object');
  });

  it('refuses a body of more values than memory should hold', () => {
    const many = (count: number): unknown =>
      ObjectScan.over(Buffer.from(`{"x":[${'[],'.repeat(count)}[]]}`), 8, NAMES);
    expect(many(249_000)).toBeInstanceOf(ObjectScan);
    expect(many(251_000)).toBe('too_many');
  });

  it('never throws and never hangs, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        ObjectScan.over(Buffer.concat([Buffer.from('{'), bytes]), 8, NAMES);
      }),
    );
  });

  it('passes a long string in one go', () => {
    const text = JSON.stringify({ messages: `${'x'.repeat(1_000_000)}\\"${'"'.repeat(99)}`, model: 'm' });
    const member = scan(text).members.get('model');
    expect(text.slice(member?.start, member?.end)).toBe('"m"');
  });
});
