// What is struck out of prompts and replies before they are logged.

import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { mintKey } from '../../src/keys/format.ts';
import { streamOf } from '../../src/prompts/read.ts';
import { redactText, redactValue } from '../../src/prompts/redact.ts';

const secrets = { personal: false };
const personal = { personal: true };

// Put together here, so that no scanner takes this file for a leak.
const long = (prefix: string, count = 36) =>
  prefix + 'aB3dE6gH9jK2mN5pQ8sT1vW4yZ7bC0eF'.repeat(3).slice(0, count);
const KEYS: Record<string, string> = {
  'a project key of ours': mintKey('project'),
  'an admin key of ours': mintKey('admin'),
  'a test key of ours': mintKey('test'),
  'a service account key of ours': mintKey('service_account'),
  OpenAI: long('sk-proj-', 60),
  Anthropic: long('sk-ant-api03-', 60),
  Google: long('AIza', 35),
  GitHub: long('ghp_', 36),
  'GitHub, fine-grained': long('github_pat_', 60),
  GitLab: long('glpat-', 20),
  Slack: long('xoxb-', 40),
  AWS: `AKIA${'ABCD2345EFGH6789'}`,
  'Hugging Face': long('hf_', 34),
  Groq: long('gsk_', 50),
  Stripe: long('sk_live_', 24),
  Vault: long('hvs.', 24),
  'a JSON Web Token': `${long('eyJ', 30)}.${long('eyJ', 60)}.${long('', 43)}`,
};

describe('a secret', () => {
  it.each(Object.entries(KEYS))('of %s is struck out wherever it stands', (_name, key) => {
    fc.assert(
      fc.property(
        fc.string({ maxLength: 30 }),
        fc.constantFrom(' ', '"', "'", '\n', '(', ',', '=', '`', ': '),
        fc.constantFrom(' ', '"', "'", '\n', ')', ',', '`', '. '),
        (text, before, after) => {
          const out = redactText(text + before + key + after + text, secrets);
          expect(out).not.toContain(key);
          expect(out).not.toContain(key.slice(8, -4));
        },
      ),
    );
  });

  it.each([
    ['Authorization: Bearer abcdef123456', 'abcdef123456'],
    ['curl -H "authorization: Basic dXNlcjpwYXNz"', 'dXNlcjpwYXNz'],
    ['postgres://user:hunter22@db/x', 'hunter22'],
    ['PASSWORD=hunter2hunter2', 'hunter2hunter2'],
    ['{"api_key": "0123456789"}', '0123456789'],
    ['{\\"client_secret\\":\\"0123456789\\"}', '0123456789'],
    ['-----BEGIN RSA PRIVATE KEY-----\nMIIEabc\n-----END RSA PRIVATE KEY----- after', 'MIIEabc'],
    ['-----BEGIN PRIVATE KEY-----\nMIIEcut', 'MIIEcut'],
  ])('in %j is struck out by where it stands', (text, secret) => {
    expect(redactText(text, secrets)).not.toContain(secret);
  });

  it('is struck out of a value by the name that it stands under, whatever it looks like', () => {
    const value = {
      tools: [{ type: 'mcp', authorization: 'plain', headers: { 'x-anything': ['plain'] } }],
      password: 'plain',
      accessToken: 'kept, because nothing says what it is',
      max_tokens: 5,
      nested: { my_api_key: { a: 'plain' } },
    };
    const out = JSON.stringify(redactValue(value, secrets));
    expect(out).not.toContain('plain');
    expect(out).toContain('"max_tokens":5');
  });

  it('is struck out of a stream although it comes in pieces', () => {
    const key = mintKey('project');
    const events = [...key].map(
      (content) => `data: ${JSON.stringify({ choices: [{ index: 0, delta: { content } }] })}\n\n`,
    );
    const read = streamOf(Buffer.from(`${events.join('')}data: [DONE]\n\n`));
    expect(read).toEqual({ 'choices.0.delta.content': key });
    expect(redactValue(read, secrets)).toEqual({ 'choices.0.delta.content': '[redacted]' });
  });
});

describe('what is no secret', () => {
  it.each([
    'The weather is fine; the risk-averse task-force met at sk-8.',
    'A token is about four characters. Set max_tokens: 100, temperature: 0.7',
    'See https://example.com/a?b=c#d and mail the team.',
    '{"role":"user","content":"hello"}',
  ])('stays: %s', (text) => {
    expect(redactText(text, secrets)).toBe(text);
  });

  it('is addresses and cards, unless the administrator says otherwise', () => {
    const text = 'Write to ada@example.com, card 4111 1111 1111 1111, order 4111 1111 1111 1112.';
    expect(redactText(text, secrets)).toBe(text);
    expect(redactText(text, personal)).toBe(
      'Write to [redacted], card [redacted], order 4111 1111 1111 1112.',
    );
  });
});

describe('a hostile text', () => {
  it.each([
    ['a@'.repeat(50_000)],
    ['-----BEGIN PRIVATE KEY-----'.repeat(5_000)],
    ['password=password='.repeat(10_000)],
    [`${'eyJ'.repeat(50_000)}.`],
    ['://a:'.repeat(30_000)],
    ['1 '.repeat(80_000)],
    ['a.'.repeat(80_000)],
    ['key_'.repeat(50_000)],
  ])('is redacted in a bounded time', (text) => {
    const began = performance.now();
    redactText(text, personal);
    expect(performance.now() - began).toBeLessThan(2_000);
  });
});
