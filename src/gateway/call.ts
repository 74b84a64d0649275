// One call on its way along the road: what is known of it so far. Steps fill it in; fields say which step does.

import type { Order, Performed } from '../batches/model.ts';
import type { Principal, ProjectState } from '../keys/model.ts';
import { type CallSize, NO_SIZE } from '../limits/estimate.ts';
import type { Admission as Allowance } from '../limits/limiter.ts';
import type { KeyId, OrganizationId, RequestId } from '../platform/ids.ts';
import type { Transcript } from '../prompts/log.ts';
import type { Meter } from '../spend/meter/model.ts';
import type { Reservation } from '../spend/reservation.ts';
import type { EventSpend, Outcome, Usage, UsageSource } from '../spend/usage.ts';
import type { Route, Target } from '../upstreams/routes.ts';
import type { Exchange } from './exchange.ts';
import type { Operation } from './operations.ts';
import type { Peer, Watcher } from './peer.ts';

/** The request's headers that matter to the road; all others are dropped. */
export interface Head {
  authorization: string | null;
  organization: string | null;
  project: string | null;
  contentType: string | null;
  contentEncoding: string | null;
  contentLength: string | null;
  accept: string | null;
  forwardedFor: string | null;
  /** Sent on as they are, flat: name, value. */
  readonly passed: string[];
}

/** The principal of a data-plane call: one that belongs to a project. */
export interface ProjectPrincipal extends Principal {
  readonly project: ProjectState;
}

/** What the body says that the road must know. */
export interface Asked {
  readonly model: string | null;
  readonly stream: boolean;
  /** The caller asked for the usage chunk itself (`stream_options.include_usage`). */
  readonly wantsUsage: boolean;
  /** Characters to be spoken (text to speech). */
  readonly characters: number;
  /** Files of a form, and their bytes together. */
  readonly files: number;
  readonly fileBytes: number;
  /** How much it will draw on its limits, as far as the body tells. */
  readonly size: CallSize;
  /** The caller's own name for who asks (`safety_identifier`, `user`). */
  readonly endUser: string | null;
  /** Objects of the provider's that the body refers to. */
  readonly references: readonly string[];
  /** Whether the reply will be kept by the provider under its id. */
  readonly keeps: boolean;
}

export const NOTHING_ASKED: Asked = Object.freeze({
  model: null,
  stream: false,
  wantsUsage: false,
  characters: 0,
  files: 0,
  fileBytes: 0,
  size: NO_SIZE,
  endUser: null,
  references: [],
  keeps: false,
});

/** Told when the connection lets go of a call. */
export interface Keeper {
  gone(call: Call): void;
}

export class Call implements Watcher {
  readonly peer: Peer;
  readonly id: RequestId;
  /** Arrival: wall clock, and monotonic; milliseconds. */
  readonly at: number;
  readonly began: number;
  /** Monotonic time of the last byte to or from the caller, and from the provider. */
  active: number;

  /** Where it stands among the calls under way; -1: it does not. */
  place = -1;
  /** The step of the road that it is at. */
  step = 0;
  /** Set once the reply is complete or the caller is gone: nothing more may be written. */
  over = false;

  // receive
  operation: Operation | null = null;
  parameters: readonly string[] = [];
  query = '';
  readonly head: Head = {
    authorization: null,
    organization: null,
    project: null,
    contentType: null,
    contentEncoding: null,
    contentLength: null,
    accept: null,
    forwardedFor: null,
    passed: [],
  };
  body: Buffer | null = null;
  /** Listens for the rest of the body; the sweep ends a call that idles here. */
  receiving = false;
  asked: Asked = NOTHING_ASKED;
  /** A JSON body, parsed: kept until it was looked at for what it may cost. */
  json: Readonly<Record<string, unknown>> | null = null;
  /** The same as text, as long as `json` is kept. */
  text = '';
  /** Members of a JSON body that its project's controls set before it is sent: name, JSON text. */
  members: ReadonlyMap<string, string> | null = null;

  /** What is kept of the call for the prompt log; null: nothing. */
  transcript: Transcript | null = null;
  /** What it was ordered by, if no connection brought it. */
  order: Order | null = null;
  /** Told when an ordered call has ended. */
  onEnded: ((event: Performed['event']) => void) | null = null;

  // authenticate
  principal: Principal | null = null;

  // authorize
  caller: ProjectPrincipal | null = null;
  route: Route | null = null;

  /** The `x-ratelimit-…` header lines of the reply. */
  limitLines = '';

  // admit and reserve: what there is to give back
  admitted = false;
  /** What was taken of the rate limits. */
  allowance: Allowance | null = null;
  reserved = false;
  /** What was taken of the budgets; null where none applies. */
  reservation: Reservation | null = null;

  // forward
  readonly tried: Target[] = [];
  target: Target | null = null;
  /** Whether the request was written to a provider, which may then bill it. */
  sent = false;
  /** Ends the call to the provider, once there is one. */
  abort: ((reason: Error) => void) | null = null;
  exchange: Exchange | null = null;
  firstByte = 0;
  /** Its total time is up, or the provider was silent for too long. */
  expired = false;

  // relay
  status = 0;
  streamed = false;
  /** Bytes wait in the caller's socket: the provider is paused until they are gone. */
  paused = false;
  /** Told when the caller has read what waited for it, or is gone. */
  onDrained: (() => void) | null = null;
  usage: Usage | null = null;
  /** What it cost, where budgets apply. */
  spend: EventSpend | null = null;
  source: UsageSource = 'none';
  outcome: Outcome = 'ok';
  serviceTier = '';
  modelServed = '';
  objectId: string | null = null;
  /** Text that the model wrote and whose tokens nobody stated: it is counted when the call is settled. */
  output: Buffer | null = null;
  /** Bytes of such text beyond what was kept of a very long stream. */
  unkept = 0;

  readonly #keeper: Keeper;

  constructor(peer: Peer, keeper: Keeper, id: RequestId, at: number, began: number) {
    this.peer = peer;
    this.#keeper = keeper;
    this.id = id;
    this.at = at;
    this.began = began;
    this.active = began;
  }

  drained(): void {
    this.paused = false;
    if (!this.over) this.exchange?.more();
    this.#letGo();
  }

  gone(): void {
    this.#keeper.gone(this);
    this.#letGo();
  }

  #letGo(): void {
    const { onDrained } = this;
    this.onDrained = null;
    onDrained?.();
  }

  get meter(): Meter {
    return this.operation?.meter ?? 'none';
  }

  get organizationId(): OrganizationId | null {
    return this.principal?.organizationId ?? null;
  }

  get keyId(): KeyId | null {
    return this.principal?.keyId ?? null;
  }
}
