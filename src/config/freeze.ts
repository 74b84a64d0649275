// Freezes a value all the way down, so that no part of the server can change what another part reads.

import { Secret } from './model.ts';

export function deepFreeze<T>(value: T): T {
  if (value instanceof URL) lock(value);
  // A Secret's text is private to it: freezing the outside is all there is to freeze.
  else if (value instanceof Secret) Object.freeze(value);
  else if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    for (const key of Reflect.ownKeys(value)) deepFreeze(Reflect.get(value, key));
    Object.freeze(value);
  }
  return value;
}

/** `Object.freeze` does not reach what a URL's setters change: they are taken away. */
function lock(url: URL): void {
  for (const [name, { get, set }] of Object.entries(Object.getOwnPropertyDescriptors(URL.prototype))) {
    if (get && set) Object.defineProperty(url, name, { get: get.bind(url), enumerable: false });
  }
  Object.freeze(url);
}
