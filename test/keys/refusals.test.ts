import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { presentedKey } from '../../src/keys/authorization.ts';
import {
  incorrectKey,
  mismatchedOrganization,
  mismatchedProject,
  missingKey,
} from '../../src/keys/errors.ts';
import { mintKey } from '../../src/keys/format.ts';
import { ApiError } from '../../src/platform/errors.ts';

function refusal(work: () => unknown): ApiError {
  try {
    work();
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
  throw new Error('was not refused');
}

describe('the Authorization header', () => {
  it('gives the key from Bearer, whatever the case of the word', () => {
    const key = mintKey('project');
    for (const scheme of ['Bearer', 'bearer', 'BEARER']) expect(presentedKey(`${scheme} ${key}`)).toBe(key);
    expect(presentedKey(`Bearer   ${key}  `)).toBe(key);
  });

  it('gives the key from Basic with a blank user name, as browsers send it', () => {
    const key = mintKey('project');
    expect(presentedKey(`Basic ${Buffer.from(`:${key}`).toString('base64')}`)).toBe(key);
  });

  it('without a key is 401 with the platform’s words and no code', () => {
    const basicWithUser = `Basic ${Buffer.from('user:key').toString('base64')}`;
    for (const header of [undefined, null, '', 'Bearer', 'Bearer ', 'Token abc', 'abc', basicWithUser]) {
      const error = refusal(() => presentedKey(header));
      expect(error.status).toBe(401);
      expect(error.body().error).toMatchObject({ type: 'invalid_request_error', param: null, code: null });
      expect(error.message).toMatch(
        /^You didn't provide an API key\. You need to provide your API key in an/,
      );
    }
  });

  it('of more than 4 KB is not read further', () => {
    expect(refusal(() => presentedKey(`Bearer ${'a'.repeat(5000)}`)).message).toBe(missingKey().message);
  });
});

describe('an incorrect key', () => {
  it('is 401 invalid_api_key with the platform’s opening words and the masked key', () => {
    const key = mintKey('project');
    const error = incorrectKey(key);
    expect(error.status).toBe(401);
    expect(error.body().error).toMatchObject({
      type: 'invalid_request_error',
      param: null,
      code: 'invalid_api_key',
    });
    expect(error.message).toBe(
      `Incorrect API key provided: sk-proj-************${key.slice(-4)}. You can find your API key with ` +
        '`keygate keys list`, or ask whoever runs this keygate server for one.',
    );
  });

  it('of the old form is told what to use instead', () => {
    for (const old of [`sk-${'a'.repeat(48)}`, 'sk-None-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa']) {
      const message = incorrectKey(old, 'legacy').message;
      expect(message).toMatch(/^Incorrect API key provided: \*{12}aaaa\. /);
      expect(message).toContain('sk-proj-');
    }
  });

  it('is never repeated beyond prefix and last four characters, whatever was presented', () => {
    const reasons = fc.constantFrom('unknown', 'legacy', 'foreign', 'malformed', 'checksum' as const);
    fc.assert(
      fc.property(fc.string({ minLength: 8, maxLength: 200 }), reasons, (secret, reason) => {
        const shown = incorrectKey(secret, reason)
          .message.slice('Incorrect API key provided: '.length)
          .split('. ')[0];
        expect(shown).toMatch(/^(?:sk-(?:proj|svcacct|admin|test)-)?\*{12}[0-9A-Za-z_*-]{0,4}$/);
      }),
    );
  });

  it('of another organization or project is told apart by the documented codes', () => {
    expect(mismatchedOrganization()).toMatchObject({ status: 401, code: 'mismatched_organization' });
    expect(mismatchedProject()).toMatchObject({ status: 401, code: 'mismatched_project' });
  });
});
