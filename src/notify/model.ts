// What is told to others, and when it is tried again: types and pure rules.

import type { DeliveryId, EventId, OrganizationId, ProjectId } from '../platform/ids.ts';

/** Event types that this server sends to webhooks; the first ones are the platform's. */
export const EVENT_TYPES = [
  'batch.completed',
  'batch.failed',
  'batch.expired',
  'batch.cancelled',
  /** keygate's own: an owner's spend passed a threshold, once in each window. */
  'spend_alert.triggered',
  /** keygate's own: the first call in a window that a hard limit refused. */
  'spend_limit.reached',
  /** keygate's own: an entry of the audit log. */
  'audit_log.created',
] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** What an event says: ids, names, amounts. Never a secret. */
export type EventValue =
  | string
  | number
  | boolean
  | null
  | readonly EventValue[]
  | { readonly [name: string]: EventValue };

export interface NotifyEvent {
  readonly organizationId: OrganizationId;
  /** Null: of the organization as a whole, told only to its own endpoints. */
  readonly projectId: ProjectId | null;
  readonly type: EventType;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** At least the id of what it is about. */
  readonly data: { readonly id: string; readonly [name: string]: EventValue };
}

/** The body that webhooks get, as the platform has it. */
export function eventBody(id: EventId, { type, at, data }: NotifyEvent): string {
  return JSON.stringify({ object: 'event', id, type, created_at: Math.floor(at / 1000), data });
}

export interface Email {
  readonly subject: string;
  readonly text: string;
}

/** One message on its way. */
export interface Delivery {
  readonly id: DeliveryId;
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId | null;
  readonly channel: 'webhook' | 'email';
  readonly target: string;
  readonly eventId: string;
  readonly eventType: string;
  readonly body: string;
  /** Attempts so far. */
  readonly attempts: number;
  readonly createdAt: number;
}

/** How an attempt ended. */
export type Attempt =
  | { readonly kind: 'sent' }
  | {
      readonly kind: 'failed';
      /** For people: what happened, without any secret. */
      readonly reason: string;
      /** Trying again cannot help. */
      readonly final: boolean;
      /** The receiver asked for this pause. */
      readonly retryAfterMs?: number;
    };

const FIRST_RETRY_MS = 5_000;
const LAST_RETRY_MS = 6 * 3_600_000;
/** After this long without success a message is given up: 72 hours, as the platform has it. */
export const GIVE_UP_MS = 72 * 3_600_000;

/**
 * When to try again after a failed attempt, in milliseconds since the epoch; null: never, it is given up. The pause
 * begins at 5 s and doubles to 6 h, with up to a fifth more at random, so that receivers which came back are not met
 * by all at once; the last attempt is at 72 h.
 * @param attempts including the one that failed
 * @param random from 0 to 1
 */
export function nextAttempt(
  delivery: { readonly createdAt: number },
  attempts: number,
  now: number,
  random: number,
  retryAfterMs = 0,
): number | null {
  const end = delivery.createdAt + GIVE_UP_MS;
  if (now >= end) return null;
  const pause = Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(30, attempts - 1));
  const asked = Math.min(LAST_RETRY_MS, Math.max(0, retryAfterMs));
  return Math.min(end, now + Math.max(asked, Math.round(pause * (1 + random / 5))));
}
