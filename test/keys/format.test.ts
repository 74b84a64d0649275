import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  digestBytes,
  digestKey,
  KEY_LENGTH_MAX,
  KEY_MARKER,
  KEY_PATTERN,
  maskPresented,
  mintKey,
  parseKey,
  redact,
} from '../../src/keys/format.ts';
import type { KeyType } from '../../src/keys/model.ts';

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const PREFIX = {
  project: 'sk-proj-',
  service_account: 'sk-svcacct-',
  admin: 'sk-admin-',
  test: 'sk-test-',
  session: 'sk-sess-',
} as const;
const types = fc.constantFrom<KeyType>('project', 'service_account', 'admin', 'test');
const keys = types.map((type) => ({ type, key: mintKey(type) }));

/** The published checksum, computed by zlib and by division, apart from the code under test. */
function checksumOf(body: string): string {
  let rest = crc32(body);
  let text = '';
  for (let place = 0; place < 6; place++) {
    text = BASE62.charAt(rest % 62) + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

describe('a minted key', () => {
  it('is read back as the type that it was minted for', () => {
    fc.assert(
      fc.property(keys, ({ type, key }) => {
        expect(parseKey(key)).toEqual({ ok: true, type });
      }),
    );
  });

  it('has its published shape: prefix, 22, marker, 22, and CRC-32 of all that precedes in six base62 characters', () => {
    fc.assert(
      fc.property(keys, ({ type, key }) => {
        expect(key.startsWith(PREFIX[type])).toBe(true);
        const body = key.slice(PREFIX[type].length);
        expect(body).toMatch(/^[0-9A-Za-z]{60}$/);
        expect(body.slice(22, 32)).toBe(KEY_MARKER);
        expect(key.slice(-6)).toBe(checksumOf(key.slice(0, -6)));
        expect(key.length).toBeLessThanOrEqual(KEY_LENGTH_MAX);
      }),
    );
  });

  it('carries base64 of "keygate" and never the marker of OpenAI’s own keys', () => {
    expect(Buffer.from(KEY_MARKER, 'base64').toString()).toBe('keygate');
    for (let n = 0; n < 2000; n++) expect(mintKey('project')).not.toContain('T3BlbkFJ');
  });

  it('draws each of the 62 characters equally often (chi-squared, 1 in 10^6 to fail by chance)', () => {
    const counts = new Map<string, number>();
    const keyCount = 20_000;
    for (let n = 0; n < keyCount; n++) {
      const body = mintKey('admin').slice('sk-admin-'.length);
      for (const c of body.slice(0, 22) + body.slice(32, 54)) counts.set(c, (counts.get(c) ?? 0) + 1);
    }
    const mean = (keyCount * 44) / 62;
    let chi = 0;
    for (const c of BASE62) chi += ((counts.get(c) ?? 0) - mean) ** 2 / mean;
    expect([...counts.keys()].every((c) => BASE62.includes(c))).toBe(true);
    expect(chi).toBeLessThan(126);
  });

  it('never comes twice', () => {
    const seen = new Set(Array.from({ length: 20_000 }, () => mintKey('project')));
    expect(seen.size).toBe(20_000);
  });
});

describe('a mistyped key', () => {
  it('is refused whichever single character is replaced by whichever other', () => {
    for (const type of Object.keys(PREFIX) as KeyType[]) {
      const key = mintKey(type);
      for (let at = 0; at < key.length; at++) {
        for (const c of `${BASE62}-_ é`) {
          if (c === key[at]) continue;
          const typo = key.slice(0, at) + c + key.slice(at + 1);
          expect(parseKey(typo).ok, typo).toBe(false);
        }
      }
    }
  });

  it('is refused whichever two unlike neighbours are swapped', () => {
    fc.assert(
      fc.property(keys, ({ key }) => {
        for (let at = 0; at + 1 < key.length; at++) {
          const [a = '', b = ''] = [key[at], key[at + 1]];
          if (a !== b) expect(parseKey(key.slice(0, at) + b + a + key.slice(at + 2)).ok).toBe(false);
        }
      }),
    );
  });

  it('is refused when cut, lengthened, or in another case', () => {
    fc.assert(
      fc.property(keys, fc.nat(70), fc.string({ minLength: 1, maxLength: 3 }), ({ key }, cut, extra) => {
        if (cut < key.length) expect(parseKey(key.slice(0, cut)).ok).toBe(false);
        expect(parseKey(key + extra).ok).toBe(false);
        expect(parseKey(extra + key).ok).toBe(false);
        expect(parseKey(key.toUpperCase()).ok).toBe(false);
      }),
    );
  });

  it('is not accepted as another type by changing its prefix', () => {
    const body = mintKey('project').slice('sk-proj-'.length);
    for (const prefix of ['sk-admin-', 'sk-svcacct-', 'sk-test-']) {
      expect(parseKey(prefix + body)).toEqual({ ok: false, reason: 'checksum' });
    }
  });
});

describe('parseKey', () => {
  it('says why a text is no key', () => {
    const key = mintKey('project');
    const reason = (text: string) => {
      const parsed = parseKey(text);
      return parsed.ok ? 'ok' : parsed.reason;
    };
    expect(reason(`sk-${'a'.repeat(48)}`)).toBe('legacy');
    expect(reason('sk-')).toBe('legacy');
    expect(reason('sk-None-abcdefgh')).toBe('legacy');
    expect(reason(`sk-proj-${'a'.repeat(74)}T3BlbkFJ${'b'.repeat(74)}`)).toBe('foreign');
    expect(reason('sk-ant-api03-abc')).toBe('foreign');
    expect(reason('eyJhbGciOiJIUzI1NiJ9.e30.x')).toBe('foreign');
    expect(reason('')).toBe('foreign');
    expect(reason(key.slice(0, -1))).toBe('malformed');
    expect(reason(`${key.slice(0, -1)}_`)).toBe('malformed');
    expect(reason(key.replace(KEY_MARKER, 'AAAAAAAAAA'))).toBe('malformed');
    expect(reason(key.slice(0, -1) + (key.endsWith('a') ? 'b' : 'a'))).toBe('checksum');
  });

  it('agrees with the published rule on any text, and its own CRC-32 with zlib’s', () => {
    const half = fc.string({ unit: fc.constantFrom(...BASE62), minLength: 22, maxLength: 22 });
    const shaped = fc
      .tuple(fc.constantFrom(...Object.values(PREFIX)), half, half)
      .map(([prefix, a, b]) => prefix + a + KEY_MARKER + b);
    fc.assert(
      fc.property(shaped, fc.boolean(), fc.string({ maxLength: 6 }), (body, right, other) => {
        const tail = right ? checksumOf(body) : other;
        expect(parseKey(body + tail).ok).toBe(tail === checksumOf(body));
      }),
      { numRuns: 1000 },
    );
    fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => !parseKey(text).ok));
  });

  it('costs under a microsecond a key, and does no more work for a text of a megabyte', () => {
    const sample = Array.from({ length: 512 }, () => mintKey('project'));
    const long = [`sk-${'a'.repeat(1e6)}`, `sk-proj-${'-'.repeat(1e6)}`, 'x'.repeat(1e6)];
    const nanoseconds = (texts: readonly string[]) => {
      // The best of many rounds: the machine may be doing other things, the code may not.
      let best = Number.POSITIVE_INFINITY;
      for (let round = 0; round < 60; round++) {
        const start = performance.now();
        for (let n = 0; n < 5120; n++) parseKey(texts[n % texts.length] ?? '');
        best = Math.min(best, ((performance.now() - start) * 1e6) / 5120);
      }
      return best;
    };
    expect(nanoseconds(sample)).toBeLessThan(1000);
    expect(nanoseconds(long)).toBeLessThan(1000);
  });
});

describe('KEY_PATTERN', () => {
  const whole = new RegExp(`^(?:${KEY_PATTERN.source})$`);

  it('finds a minted key in any text around it, and takes exactly the key', () => {
    const around = fc.string({ maxLength: 40 });
    fc.assert(
      fc.property(keys, around, around, ({ key }, before, after) => {
        expect(KEY_PATTERN.exec(before + key + after)?.[0]).toBe(key);
      }),
    );
  });

  it('matches a whole text only where parseKey finds a key or a wrong checksum', () => {
    fc.assert(
      fc.property(keys, fc.nat(70), fc.string({ maxLength: 2 }), ({ key }, at, put) => {
        const text = key.slice(0, at) + put + key.slice(at + 1);
        const parsed = parseKey(text);
        expect(whole.test(text)).toBe(parsed.ok || parsed.reason === 'checksum');
      }),
    );
  });

  it('leaves other issuers’ keys and ordinary text alone', () => {
    for (const text of [
      `sk-proj-${'a'.repeat(74)}T3BlbkFJ${'b'.repeat(74)}`,
      `sk-${'a'.repeat(20)}T3BlbkFJ${'b'.repeat(20)}`,
      'sk-proj-your-key-here',
      `sk-proj-${'A'.repeat(60)}`,
    ]) {
      expect(KEY_PATTERN.test(text)).toBe(false);
    }
  });

  it('takes time in proportion to the text, also where the text is made to mislead it', () => {
    const worst = (n: number) => `sk-proj-${'A'.repeat(21)}a2V5Z2F0Z`.repeat(n);
    const milliseconds = (text: string) => {
      const start = performance.now();
      KEY_PATTERN.test(text);
      return performance.now() - start;
    };
    milliseconds(worst(1000));
    expect(milliseconds(worst(25_000))).toBeLessThan(200);
  });
});

describe('digest and redaction', () => {
  it('the digest is SHA-256 of the key as 32 latin1 characters, and as the same 32 bytes', () => {
    fc.assert(
      fc.property(keys, ({ key }) => {
        const expected = createHash('sha256').update(key).digest();
        expect(digestKey(key)).toHaveLength(32);
        expect(Buffer.compare(digestBytes(digestKey(key)), expected)).toBe(0);
      }),
    );
  });

  it('a redacted key shows its prefix, three characters and the last four, and nothing else', () => {
    fc.assert(
      fc.property(keys, ({ type, key }) => {
        const start = PREFIX[type].length + 3;
        expect(redact(key)).toBe(`${key.slice(0, start)}...${key.slice(-4)}`);
      }),
    );
  });

  it('a masked text never shows more than a prefix of ours and four characters, and nothing of a short one', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string({ maxLength: 120 }),
          keys.map((k) => k.key),
        ),
        (text) => {
          const shown = maskPresented(text);
          const prefix = Object.values(PREFIX).find((p) => text.startsWith(p)) ?? '';
          expect(shown).toMatch(/^(?:sk-(?:proj|svcacct|admin|test)-)?\*{12}[0-9A-Za-z_*-]{0,4}$/);
          if (text.length < prefix.length + 24) expect(shown).toBe('************');
          expect(shown.length).toBeLessThanOrEqual('sk-svcacct-'.length + 16);
        },
      ),
    );
    expect(maskPresented('sk-proj-abcd')).toBe('************');
    expect(maskPresented('hunter2')).toBe('************');
  });
});
