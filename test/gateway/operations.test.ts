import { describe, expect, it } from 'vitest';
import { matchOperation, OPERATIONS } from '../../src/gateway/operations.ts';

describe('the operation table', () => {
  it('finds every operation that it holds, with the parameters of its path in order', () => {
    for (const operation of OPERATIONS) {
      let count = 0;
      const path = operation.path.replaceAll('{}', () => `id-${count++}`);
      const match = matchOperation(operation.method, path);
      expect(match).toEqual({
        found: operation,
        parameters: Array.from({ length: count }, (_, i) => `id-${i}`),
      });
    }
  });

  it('holds each method and path once', () => {
    const seen = OPERATIONS.map(({ method, path }) => `${method} ${path}`);
    expect(new Set(seen).size).toBe(seen.length);
  });

  it('tells an unknown path from an unknown method', () => {
    expect(matchOperation('GET', '/nope')).toBe('unknown');
    expect(matchOperation('GET', '/')).toBe('unknown');
    expect(matchOperation('GET', '/models/')).toBe('unknown');
    expect(matchOperation('GET', '/models//x')).toBe('unknown');
    expect(matchOperation('GET', '/chat')).toBe('unknown');
    expect(matchOperation('GET', `/models${'/a'.repeat(50)}`)).toBe('unknown');
    expect(matchOperation('PATCH', '/models')).toBe('method');
    expect(matchOperation('GET', '/embeddings')).toBe('method');
    expect(matchOperation('get', '/models')).toBe('method');
  });

  it('does not take a parameter mark for a name', () => {
    expect(matchOperation('GET', '/models/{}')).toMatchObject({ parameters: ['{}'] });
  });
});
