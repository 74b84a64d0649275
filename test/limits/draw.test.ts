import { describe, expect, test } from 'vitest';
import { drawnPools, effectiveLimits, endUserSubject } from '../../src/limits/draw.ts';
import type { Pool } from '../../src/limits/model.ts';
import { parseTables, type TableInput } from '../../src/limits/tables.ts';
import { type CallFacts, callOf } from './calls.ts';

const BASE: TableInput = {
  tiers: [
    {
      name: 'free',
      limits: {
        '*': { requests_per_minute: 10, tokens_per_minute: 1_000 },
        'gpt-4o': { requests_per_minute: 500, tokens_per_minute: 30_000 },
        'gpt-4o-mini*': { requests_per_minute: 600 },
        minis: { tokens_per_minute: 200_000 },
        'long-4.1': { tokens_per_minute: 400_000 },
        'gpt-4.1': { requests_per_minute: 50, tokens_per_minute: 30_000 },
      },
    },
    { name: '1', paid_usd: 5, limits: { '*': { requests_per_minute: 5_000 } } },
  ],
  groups: { minis: ['gpt-4o-mini*', 'gpt-4.1-nano'] },
  long_context: { 'long-4.1': { models: ['gpt-4.1'], above: 128_000 } },
};

function drawn(extra: Partial<TableInput>, facts: CallFacts = {}, long = false): string[] {
  return drawnPools(parseTables({ ...BASE, ...extra }), callOf(facts), long).map(print);
}

function print({ subject, line, rate }: Pool): string {
  return `${subject.scope} ${subject.id}: ${line.text} = ${rate.amount}`;
}

describe('the pools that a call draws on', () => {
  test('are the organization’s for the model, by its own name before a pattern before `*`', () => {
    expect(drawn({})).toEqual([
      'organization org-1: rpm:model:gpt-4o = 500',
      'organization org-1: tpm:model:gpt-4o = 30000',
    ]);
    expect(drawn({}, { model: 'other' })).toEqual([
      'organization org-1: rpm:model:other = 10',
      'organization org-1: tpm:model:other = 1000',
    ]);
  });

  test('are shared by the models of a group in the dimensions that the group states, and the model’s own in the others', () => {
    expect(drawn({}, { model: 'gpt-4o-mini-2024' })).toEqual([
      'organization org-1: rpm:model:gpt-4o-mini-2024 = 600',
      'organization org-1: tpm:group:minis = 200000',
    ]);
    expect(drawn({}, { model: 'gpt-4.1-nano' })).toEqual([
      'organization org-1: rpm:model:gpt-4.1-nano = 10',
      'organization org-1: tpm:group:minis = 200000',
    ]);
  });

  test('are the long-context pool’s for a long prompt, in the dimensions that it states', () => {
    expect(drawn({}, { model: 'gpt-4.1' }, true)).toEqual([
      'organization org-1: rpm:model:gpt-4.1 = 50',
      'organization org-1: tpm:long_context:long-4.1 = 400000',
    ]);
    expect(drawn({}, { model: 'gpt-4.1' }, false)).toContain('organization org-1: tpm:model:gpt-4.1 = 30000');
  });

  test('are the organization’s own statement before its tier’s, and its tier is the pinned one', () => {
    expect(drawn({ organizations: { 'org-1': { limits: { '*': { tokens_per_minute: 7 } } } } })).toEqual([
      'organization org-1: rpm:model:gpt-4o = 500',
      'organization org-1: tpm:model:gpt-4o = 7',
    ]);
    expect(drawn({ organizations: { 'org-1': { tier: '1' } } })).toEqual([
      'organization org-1: rpm:model:gpt-4o = 5000',
    ]);
    const tables = parseTables(BASE);
    expect(drawnPools(tables, callOf(), false, () => '1').map(print)).toEqual([
      'organization org-1: rpm:model:gpt-4o = 5000',
    ]);
  });

  test('are a project’s, a service account’s, a key’s and an end user’s as well: each id’s own, else what `*` says', () => {
    const extra = {
      projects: { proj_1: { 'gpt-4o': { requests_per_minute: 5 } }, '*': { '*': { tokens_per_minute: 9 } } },
      service_accounts: { '*': { all: { requests_per_minute: 4 } } },
      api_keys: { key_1: { all: { tokens_per_minute: 3 } } },
      end_users: { proj_1: { all: { requests_per_minute: 2 } } },
    };
    expect(
      drawn(extra, { ownerType: 'service_account', ownerId: 'svc_acct_1', endUser: 'alice' }).slice(2),
    ).toEqual([
      'project proj_1: rpm:model:gpt-4o = 5',
      'project proj_1: tpm:model:gpt-4o = 9',
      'service_account svc_acct_1: rpm:all:all = 4',
      'api_key key_1: tpm:all:all = 3',
      'end_user proj_1:alice: rpm:all:all = 2',
    ]);
    expect(drawn(extra, { project: 'proj_2', key: 'key_2' }).slice(2)).toEqual([
      'project proj_2: tpm:model:gpt-4o = 9',
    ]);
  });

  test('are one for all models together where a table says `all`, in addition to the model’s own', () => {
    const extra = { organizations: { 'org-1': { limits: { all: { requests_per_minute: 800 } } } } };
    expect(drawn(extra)).toEqual([
      'organization org-1: rpm:model:gpt-4o = 500',
      'organization org-1: rpm:all:all = 800',
      'organization org-1: tpm:model:gpt-4o = 30000',
    ]);
    expect(drawn(extra, { model: null })).toEqual(['organization org-1: rpm:all:all = 800']);
  });

  test('of a model that is called `all` are not the pool of all models', () => {
    const extra = { organizations: { 'org-1': { limits: { all: { requests_per_minute: 800 } } } } };
    expect(drawn(extra, { model: 'all' })).toEqual([
      'organization org-1: rpm:model:all = 10',
      'organization org-1: rpm:all:all = 800',
      'organization org-1: tpm:model:all = 1000',
    ]);
  });

  test('of an end user are told apart by project, and a very long name is kept as its digest', () => {
    const caller = { organizationId: 'org-1', projectId: 'proj_1' };
    expect(endUserSubject(caller, 'alice').id).toBe('proj_1:alice');
    expect(endUserSubject({ ...caller, projectId: 'proj_2' }, 'alice').low).not.toBe(
      endUserSubject(caller, 'alice').low,
    );
    expect(endUserSubject(caller, 'x'.repeat(10_000)).id).toHaveLength('proj_1:'.length + 43);
  });
});

describe('the limits of a project', () => {
  test('are listed as they hold: the lower of the organization’s and its own, and which it is', () => {
    const tables = parseTables({
      ...BASE,
      projects: { proj_1: { 'gpt-4o': { requests_per_minute: 5, tokens_per_minute: 90_000 } } },
    });
    expect(
      effectiveLimits(tables, { organizationId: 'org-1', projectId: 'proj_1', model: 'gpt-4o' }),
    ).toEqual([
      { dimension: 'requests_per_minute', amount: 5, setBy: 'project', cover: 'model', name: 'gpt-4o' },
      {
        dimension: 'tokens_per_minute',
        amount: 30_000,
        setBy: 'organization',
        cover: 'model',
        name: 'gpt-4o',
      },
    ]);
  });
});
