import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressRanges, canonicalRange, plainAddress } from '../../src/keys/addresses.ts';

const byte = fc.nat(255);
const v4 = fc.tuple(byte, byte, byte, byte).map((bytes) => bytes.join('.'));

/** Whether an IPv4 address is in a range, by plain arithmetic. */
function inRange(address: string, base: string, length: number): boolean {
  const value = (text: string) => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - length);
  return Math.floor(value(address) / size) === Math.floor(value(base) / size);
}

describe('allowed addresses', () => {
  it('hold exactly the IPv4 addresses of their ranges, plain or mapped into IPv6', () => {
    fc.assert(
      fc.property(v4, fc.integer({ min: 0, max: 32 }), v4, (base, length, address) => {
        const ranges = addressRanges([`${base}/${length}`]);
        for (const asked of [address, base]) {
          const expected = inRange(asked, base, length);
          expect(ranges.includes(asked)).toBe(expected);
          expect(ranges.includes(`::ffff:${asked}`)).toBe(expected);
        }
      }),
    );
  });

  it('hold IPv6 ranges, in any spelling and with a zone', () => {
    const ranges = addressRanges(['2001:db8::/32', 'fe80::1']);
    expect(ranges.includes('2001:0db8:0:0::7')).toBe(true);
    expect(ranges.includes('2001:DB8:ffff::')).toBe(true);
    expect(ranges.includes('2001:db9::')).toBe(false);
    expect(ranges.includes('fe80::1%eth0')).toBe(true);
    expect(ranges.includes('10.0.0.1')).toBe(false);
  });

  it('of several ranges are the union, and what is no address is in none', () => {
    const ranges = addressRanges(['10.0.0.0/8', '192.0.2.7', '::/0']);
    expect(ranges.includes('10.200.3.4')).toBe(true);
    expect(ranges.includes('192.0.2.7')).toBe(true);
    expect(ranges.includes('192.0.2.8')).toBe(false);
    for (const nonsense of ['', 'localhost', '10.0.0', '10.0.0.0/8', '::ffff:10.0.0', '0x0a.0.0.1']) {
      expect(ranges.includes(nonsense), nonsense).toBe(false);
    }
  });
});

describe('a range', () => {
  it('is written in its canonical form', () => {
    expect(canonicalRange('10.1.2.3/8')).toBe('10.0.0.0/8');
    expect(canonicalRange('10.1.2.3')).toBe('10.1.2.3/32');
    expect(canonicalRange('0.0.0.0/0')).toBe('0.0.0.0/0');
    expect(canonicalRange('2001:DB8::1/32')).toBe('2001:db8::/32');
    expect(canonicalRange('::1')).toBe('::1/128');
    expect(canonicalRange('::ffff:10.1.2.3/104')).toBe('10.0.0.0/8');
  });

  it('that is not one is refused, also in the short forms that tools disagree about', () => {
    for (const text of [
      '',
      '10.0.0.0/33',
      '10.0.0.0/',
      '10.0.0.0/08',
      '10.0.0.0/-1',
      '10.0.0/8',
      '010.0.0.1',
      '0x7f.1',
    ]) {
      expect(canonicalRange(text), text).toBeUndefined();
    }
    for (const text of ['::/129', 'fe80::1%eth0', '10.0.0.0/8/8', 'example.com', '10.0.0.0/8 ']) {
      expect(canonicalRange(text), text).toBeUndefined();
    }
  });

  it('keeps its meaning when made canonical', () => {
    fc.assert(
      fc.property(v4, fc.integer({ min: 0, max: 32 }), v4, (base, length, address) => {
        const canonical = canonicalRange(`${base}/${length}`) ?? '';
        expect(canonicalRange(canonical)).toBe(canonical);
        expect(addressRanges([canonical]).includes(address)).toBe(inRange(address, base, length));
      }),
    );
  });

  it('a mapped address is the IPv4 address that it is', () => {
    expect(plainAddress('::ffff:192.0.2.1')).toBe('192.0.2.1');
    expect(plainAddress('::ffff:c000:201')).toBe('192.0.2.1');
    expect(plainAddress('2001:db8::1')).toBe('2001:db8::1');
  });
});
