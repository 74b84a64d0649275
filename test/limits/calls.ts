// Calls for tests: made-up callers with real types.

import type { LimitedCall } from '../../src/limits/model.ts';
import type { KeyId, OrganizationId, ProjectId } from '../../src/platform/ids.ts';

export interface CallFacts extends Partial<Omit<LimitedCall, 'organizationId' | 'projectId' | 'keyId'>> {
  readonly organization?: string;
  readonly project?: string;
  readonly key?: string;
}

let calls = 0;

/** A call of `org-1`, `proj_1`, `key_1` to `gpt-4o`: 100 prompt tokens, a reply of at most 50. */
export function callOf(facts: CallFacts = {}): LimitedCall {
  const { organization = 'org-1', project = 'proj_1', key = 'key_1', ...rest } = facts;
  return {
    requestId: `req_${String(++calls).padStart(32, '0')}`,
    organizationId: organization as OrganizationId,
    projectId: project as ProjectId,
    keyId: key as KeyId,
    ownerType: 'user',
    ownerId: 'user-1',
    endUser: null,
    model: 'gpt-4o',
    prompt: { low: 100, likely: 100, high: 100 },
    replyTokens: 50,
    choices: 1,
    images: 0,
    audioSeconds: 0,
    ...rest,
  };
}

export function never(): never {
  throw new Error('the memory limiter answers at once');
}
