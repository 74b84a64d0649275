// Root keys and places for tests of sealing.

import { randomBytes } from 'node:crypto';
import type { OrganizationId, ProjectId } from '../../src/platform/ids.ts';
import type { SealError } from '../../src/secrets/envelope.ts';
import type { Place } from '../../src/secrets/purpose.ts';
import { type DerivedKeys, rootKey } from '../../src/secrets/root.ts';
import { Seals } from '../../src/secrets/seals.ts';

export interface TestSeals {
  readonly seals: Seals;
  readonly alarms: { place: Place; error: SealError }[];
  /** The newest first. */
  readonly keys: DerivedKeys[];
}

export function testSeals(keys: DerivedKeys[] = [rootKey(randomBytes(32))]): TestSeals {
  const alarms: TestSeals['alarms'] = [];
  const seals = new Seals({
    roots: {
      sealing: async () => first(keys),
      opening: async (id) => {
        const key = keys.find((one) => one.id.equals(id));
        if (key === undefined) throw new Error('no such root key');
        return key;
      },
    },
    alarm: (place, error) => alarms.push({ place, error }),
  });
  return { seals, alarms, keys };
}

function first(keys: readonly DerivedKeys[]): DerivedKeys {
  const [key] = keys;
  if (key === undefined) throw new Error('no root key');
  return key;
}

export function place(change: Partial<Record<'organizationId' | 'projectId' | 'id', string>> = {}): Place {
  return {
    organizationId: (change.organizationId ?? 'org-a') as OrganizationId,
    projectId: (change.projectId ?? 'proj_a') as ProjectId,
    purpose: 'file',
    id: change.id ?? 'file-1',
  };
}
