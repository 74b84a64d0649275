// The sandbox's script: how a request says in which way the provider shall behave, or misbehave.
//
//   script    = directive *( "," directive )
//   directive = name [ "=" value ] | status
//   duration  = number ( "ms" / "s" / "m" )
//
// It comes after a colon in the model's name (`sandbox-small:429`) or in the header `x-sandbox-script`; both
// together are one script. A directive comes once, and at most one of them is a fault. docs/sandbox.md has the
// table of them; an unknown one is a 400 that lists them.

import { ApiError } from '../../platform/errors.ts';

export const SCRIPT_HEADER = 'x-sandbox-script';

export type Fault =
  /** Refused with this status. `retryAfterMs` null: without a Retry-After header. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfterMs: number | null }
  /** 429 `insufficient_quota`: waiting does not help. */
  | { readonly kind: 'quota' }
  /** The connection is closed before anything is answered. */
  | { readonly kind: 'reset' }
  /** In the reply, after this many chunks (null: half of it): the connection is cut; nothing more is sent, for
   * ever; one event is not JSON; an error event ends the stream. */
  | { readonly kind: 'cut' | 'stall' | 'malformed' | 'error'; readonly after: number | null };

export interface Script {
  readonly fault: Fault | null;
  /** The fault meets only the first so many of identical requests; the next is answered, and it starts over. */
  readonly times: number | null;
  readonly firstByteMs: number;
  /** Between two chunks. */
  readonly chunkMs: number;
  /** The reply's bytes are sent in pieces of this size. */
  readonly trickleBytes: number | null;
  /** The reply is exactly so many tokens long. */
  readonly tokens: number | null;
  /** Prompt tokens said to come from the provider's cache, and to be written to it. */
  readonly cached: number | null;
  readonly cacheWrite: number | null;
  /** Reply tokens said to be reasoning. */
  readonly reasoning: number | null;
  /** The reply is what the user said, word for word. */
  readonly echo: boolean;
  /** Whether usage is reported, and whether a stream ends with [DONE]. */
  readonly usage: boolean;
  readonly done: boolean;
}

export const NO_SCRIPT: Script = {
  fault: null,
  times: null,
  firstByteMs: 0,
  chunkMs: 0,
  trickleBytes: null,
  tokens: null,
  cached: null,
  cacheWrite: null,
  reasoning: null,
  echo: false,
  usage: true,
  done: true,
};

const MAX_LENGTH = 500;
const MAX_MS = 10 * 60_000;
const MAX_TOKENS = 1_000_000;
const DEFAULT_RETRY_MS = 1_000;
const KNOWN =
  'first-byte=<duration>, chunk=<duration>, trickle=<bytes>, tokens=<number>, cached=<number>, ' +
  'cache-write=<number>, reasoning=<number>, echo, no-usage, no-done, times=<number>, retry-after=<duration>|none, and one fault: ' +
  '<status 400 to 599>, quota, reset, cut[=<chunks>], stall[=<chunks>], malformed[=<chunks>], error[=<chunks>]';

/**
 * @param suffix what follows the colon in the model's name; empty for none
 * @param header the header's text; empty for none
 * @throws {ApiError} 400 `invalid_sandbox_script`, saying what is wrong and what is known
 */
export function parseScript(suffix: string, header: string): Script {
  if (suffix === '' && header === '') return NO_SCRIPT;
  if (suffix.length + header.length > MAX_LENGTH) throw refuse(`it is longer than ${MAX_LENGTH} characters`);
  const directives = new Map<string, string | null>();
  for (const text of [suffix, header].flatMap((part) => (part === '' ? [] : part.split(',')))) {
    const [name = '', value = null] = text.trim().split('=', 2);
    if (directives.has(name)) throw refuse(`'${name}' comes twice`);
    directives.set(name, value);
  }
  return new Reading(directives).script();
}

/** Takes each directive once; what is left at the end is unknown. */
class Reading {
  readonly #left: Map<string, string | null>;

  constructor(directives: Map<string, string | null>) {
    this.#left = directives;
  }

  script(): Script {
    const fault = this.#fault();
    const times = this.#number('times', 1, 100);
    const script: Script = {
      fault,
      times,
      firstByteMs: this.#duration('first-byte') ?? 0,
      chunkMs: this.#duration('chunk') ?? 0,
      trickleBytes: this.#number('trickle', 1, 1_000_000),
      tokens: this.#number('tokens', 1, MAX_TOKENS),
      cached: this.#number('cached', 0, MAX_TOKENS),
      cacheWrite: this.#number('cache-write', 0, MAX_TOKENS),
      reasoning: this.#number('reasoning', 0, MAX_TOKENS),
      echo: this.#flag('echo'),
      usage: !this.#flag('no-usage'),
      done: !this.#flag('no-done'),
    };
    const unknown = [...this.#left.keys()][0];
    if (unknown !== undefined) throw refuse(`'${unknown}' is no directive, or has nothing to act on here`);
    if (times !== null && fault === null) throw refuse(`'times' needs a fault to repeat`);
    return script;
  }

  #fault(): Fault | null {
    const faults: Fault[] = [];
    for (const name of [...this.#left.keys()]) {
      if (/^[45]\d\d$/.test(name)) {
        this.#flag(name);
        faults.push({ kind: 'status', status: Number(name), retryAfterMs: this.#retryAfter(Number(name)) });
      }
    }
    if (this.#flag('quota')) faults.push({ kind: 'quota' });
    if (this.#flag('reset')) faults.push({ kind: 'reset' });
    for (const kind of ['cut', 'stall', 'malformed', 'error'] as const) {
      const bare = this.#left.get(kind) === null;
      if (bare) this.#left.delete(kind);
      const after = bare ? null : this.#number(kind, 0, MAX_TOKENS);
      if (bare || after !== null) faults.push({ kind, after });
    }
    if (faults.length > 1) throw refuse('it has more than one fault');
    return faults[0] ?? null;
  }

  #retryAfter(status: number): number | null {
    if (this.#left.get('retry-after') === 'none') {
      this.#left.delete('retry-after');
      return null;
    }
    return this.#duration('retry-after') ?? (status === 429 || status === 503 ? DEFAULT_RETRY_MS : null);
  }

  #flag(name: string): boolean {
    const value = this.#left.get(name);
    if (value === undefined) return false;
    if (value !== null) throw refuse(`'${name}' takes no value`);
    this.#left.delete(name);
    return true;
  }

  #number(name: string, least: number, most: number): number | null {
    const value = this.#left.get(name);
    if (value === undefined) return null;
    const number = value !== null && /^\d{1,7}$/.test(value) ? Number(value) : Number.NaN;
    if (!(number >= least && number <= most))
      throw refuse(`'${name}' takes a number from ${least} to ${most}`);
    this.#left.delete(name);
    return number;
  }

  #duration(name: string): number | null {
    const value = this.#left.get(name);
    if (value === undefined) return null;
    const [, number, unit] = /^(\d{1,6}(?:\.\d{1,3})?)(ms|s|m)$/.exec(value ?? '') ?? [];
    const ms = Math.round(Number(number) * (unit === 'm' ? 60_000 : unit === 's' ? 1_000 : 1));
    if (!(ms <= MAX_MS)) throw refuse(`'${name}' takes a duration up to 10m: 200ms, 1.5s, 2m`);
    this.#left.delete(name);
    return ms;
  }
}

function refuse(why: string): ApiError {
  return new ApiError(400, `The sandbox script cannot be used: ${why}. Directives are ${KNOWN}.`, {
    code: 'invalid_sandbox_script',
    param: 'model',
  });
}
