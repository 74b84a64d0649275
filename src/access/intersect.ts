// What a key may do: what its scopes and its owner's roles both allow. Made when a principal is made, and remembered by
// the identity of both, which are shared by all keys that have equal ones.

import { ALL_RIGHTS, type Rights, scopeRights } from './permission-names.ts';

const byScopes = new WeakMap<readonly string[], WeakMap<Rights, Rights>>();

/** @param scopes a key's own; empty: all that its owner may do */
export function effectiveRights(scopes: readonly string[], ofOwner: Rights): Rights {
  if (scopes.length === 0) return ofOwner;
  let known = byScopes.get(scopes);
  if (known === undefined) {
    known = new WeakMap();
    byScopes.set(scopes, known);
  }
  let rights = known.get(ofOwner);
  if (rights === undefined) {
    const allowed = scopeRights(scopes);
    rights = ofOwner === ALL_RIGHTS ? allowed : new Set([...ofOwner].filter((name) => allowed.has(name)));
    known.set(ofOwner, rights);
  }
  return rights;
}
