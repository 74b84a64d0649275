// Where a key may be used from: its own ranges, its project's lists of addresses and its organization's hold together;
// a caller must be in each that there is.

import type { ApiError } from '../platform/errors.ts';
import { addressNotAllowed } from './errors.ts';
import type { Principal } from './model.ts';

/** Whether the caller's address has a say at all: for most keys it has none, and need not be known. */
export function isBoundToAddresses({ addresses, project, organization }: Principal): boolean {
  return (
    addresses !== null || organization.addresses !== null || (project?.controls?.addresses ?? null) !== null
  );
}

/** The refusal of a caller at this address, or null. */
export function addressRefusal(
  { addresses, project, organization }: Principal,
  address: string,
): ApiError | null {
  const projects = project?.controls?.addresses ?? null;
  if (addresses !== null && !addresses.includes(address)) return addressNotAllowed();
  if (projects !== null && !projects.includes(address)) return addressNotAllowed('project');
  const { addresses: organizations } = organization;
  return organizations === null || organizations.includes(address) ? null : addressNotAllowed('organization');
}
