import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ApiError } from '../../src/platform/errors.ts';
import { splitModel } from '../../src/upstreams/sandbox/model.ts';
import { NO_SCRIPT, parseScript } from '../../src/upstreams/sandbox/script.ts';

describe('the script', () => {
  test.each([
    ['429', { fault: { kind: 'status', status: 429, retryAfterMs: 1_000 } }],
    ['429,retry-after=2.5s', { fault: { kind: 'status', status: 429, retryAfterMs: 2_500 } }],
    ['429,retry-after=none', { fault: { kind: 'status', status: 429, retryAfterMs: null } }],
    ['503', { fault: { kind: 'status', status: 503, retryAfterMs: 1_000 } }],
    ['500', { fault: { kind: 'status', status: 500, retryAfterMs: null } }],
    ['401', { fault: { kind: 'status', status: 401, retryAfterMs: null } }],
    ['quota', { fault: { kind: 'quota' } }],
    ['reset', { fault: { kind: 'reset' } }],
    ['cut', { fault: { kind: 'cut', after: null } }],
    ['cut=3', { fault: { kind: 'cut', after: 3 } }],
    ['stall=0', { fault: { kind: 'stall', after: 0 } }],
    ['malformed=2', { fault: { kind: 'malformed', after: 2 } }],
    ['error', { fault: { kind: 'error', after: null } }],
    ['500,times=2', { fault: { kind: 'status', status: 500, retryAfterMs: null }, times: 2 }],
    ['first-byte=200ms,chunk=20ms', { firstByteMs: 200, chunkMs: 20 }],
    ['first-byte=2m', { firstByteMs: 120_000 }],
    ['trickle=1', { trickleBytes: 1 }],
    ['tokens=5000', { tokens: 5_000 }],
    ['cached=1024, cache-write=9, reasoning=64', { cached: 1_024, cacheWrite: 9, reasoning: 64 }],
    ['echo', { echo: true }],
    ['no-usage,no-done', { usage: false, done: false }],
  ])('%s', (text, expected) => {
    expect(parseScript(text, '')).toEqual({ ...NO_SCRIPT, ...expected });
    expect(parseScript('', text)).toEqual({ ...NO_SCRIPT, ...expected });
  });

  test('the model’s suffix and the header are one script', () => {
    expect(parseScript('chunk=5ms', 'cut=1')).toEqual({
      ...NO_SCRIPT,
      chunkMs: 5,
      fault: { kind: 'cut', after: 1 },
    });
  });

  test.each([
    ['bogus', "'bogus' is no directive"],
    ['200', "'200' is no directive"],
    ['429,500', 'more than one fault'],
    ['cut,stall', 'more than one fault'],
    ['cut,cut=3', "'cut' comes twice"],
    ['cut=-1', "'cut' takes a number"],
    ['chunk=5', "'chunk' takes a duration up to 10m"],
    ['chunk', "'chunk' takes a duration"],
    ['first-byte=11m', "'first-byte' takes a duration up to 10m"],
    ['tokens=0', "'tokens' takes a number from 1"],
    ['tokens=1000001', "'tokens' takes a number"],
    ['echo=yes', "'echo' takes no value"],
    ['times=2', "'times' needs a fault"],
    ['retry-after=1s', "'retry-after' is no directive, or has nothing to act on here"],
    ['x'.repeat(501), 'longer than 500'],
  ])('%s is refused with the reason and the list of what is known', (text, reason) => {
    expect(() => parseScript(text, '')).toThrow(reason);
    expect(() => parseScript(text, '')).toThrow('Directives are first-byte=<duration>');
  });

  test('any text is either a script or a 400, never anything else', () => {
    fc.assert(
      fc.property(
        fc.string(),
        fc.string({ unit: fc.constantFrom(...'cutstall=429,ms0') }),
        (suffix, header) => {
          try {
            parseScript(suffix, header);
          } catch (error) {
            expect(error).toBeInstanceOf(ApiError);
            expect(error).toMatchObject({ status: 400, code: 'invalid_sandbox_script' });
          }
        },
      ),
    );
  });

  test('only the sandbox’s own models carry one: a fine-tuned model’s name keeps its colons', () => {
    expect(splitModel('sandbox-small:429,times=2')).toEqual({ name: 'sandbox-small', script: '429,times=2' });
    expect(splitModel('ft:gpt-4o:acme::7')).toEqual({ name: 'ft:gpt-4o:acme::7', script: '' });
  });
});
