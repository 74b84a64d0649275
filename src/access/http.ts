// What every route of the control plane shares: the context of a request, the shape of refusals in the OpenAPI
// document, and the rules for texts that people give to things.

import { OpenAPIHono, z } from '@hono/zod-openapi';
import type { Context, MiddlewareHandler } from 'hono';
import type { Attribution } from '../audit/model.ts';
import type { Incoming, Proofs } from '../identity/proof/prove.ts';
import type { Principal } from '../keys/model.ts';
import type { KeyRegistry } from '../keys/registry.ts';
import type { Clock } from '../platform/clock.ts';
import type { OrganizationId, ProjectId, RequestId } from '../platform/ids.ts';
import type { Store, Tx } from '../store/store.ts';
import type { InviteSealing } from './invite-mail.ts';
import type { CallerRights } from './permissions.ts';
import { badRequest } from './validation.ts';

/** How a project gets an external key, and loses it. */
export interface ExternalKeyAssignment {
  /** What it gives belongs into the change of the project. Throws 400, 404 or 503 when the key cannot be used. */
  prepare(
    organizationId: OrganizationId,
    projectId: ProjectId,
    externalKeyId: string,
  ): Promise<(tx: Tx, by: Attribution) => Promise<void>>;
  release(tx: Tx, by: Attribution, projectId: ProjectId): Promise<void>;
  /** Resolves when the change is in effect on this node. */
  ready(projectId: ProjectId): Promise<void>;
}

export interface ControlPlaneDeps {
  readonly store: Store;
  readonly registry: KeyRegistry;
  readonly clock: Clock;
  /** Checks what keys must prove beside being known; without it a key that must prove something does not work. */
  readonly proofs?: Proofs;
  /** Null or left out: this process knows no external keys, and a project cannot be given one. */
  readonly externalKeys?: ExternalKeyAssignment | null;
  /** Seals what a mail must carry; null or left out where no mail server is set up, and none is sent. */
  readonly mail?: InviteSealing | null;
  /** Told of faults that the caller only sees as 500 or 503. */
  readonly onError?: (error: unknown, requestId: RequestId) => void;
}

export interface ControlEnv {
  Bindings: {
    /** The caller's address, already taken from trusted proxies' headers where that applies. */
    remoteAddress: string;
    /** The request as it came in, where it came over a connection. */
    incoming?: Incoming;
  };
  Variables: {
    requestId: RequestId;
    /** Set by the route's own `authenticate`. */
    principal: Principal;
    /** What the principal may do; set by `admin`. */
    rights: CallerRights;
  };
}

export type ControlApp = OpenAPIHono<ControlEnv>;
export type ControlContext = Context<ControlEnv>;

/** Lets a request through that carries a key with the right, or throws the refusal. */
export interface Authentication {
  /** An admin key. */
  readonly admin: MiddlewareHandler<ControlEnv>;
  /** Any usable key. */
  readonly anyKey: MiddlewareHandler<ControlEnv>;
  /** A project's key with the right that the table asks for; its project is the principal's. */
  readonly projectKey: MiddlewareHandler<ControlEnv>;
}

export function newApp(): ControlApp {
  return new OpenAPIHono<ControlEnv>({
    defaultHook: (result) => {
      if (!result.success) throw badRequest(result.error.issues);
    },
  });
}

/** Who makes this change, for the audit log. */
export function attribution(c: ControlContext, clock: Clock): Attribution {
  const { keyId, ownerType, ownerId, organizationId, email } = c.get('principal');
  const ip_address = c.env.remoteAddress || null;
  if (email !== undefined) {
    const session = { user: { id: ownerId, email }, ip_address };
    return { organizationId, at: clock.now(), actor: { type: 'session', session } };
  }
  return {
    organizationId,
    at: clock.now(),
    actor: {
      type: 'api_key',
      api_key: { id: keyId, type: ownerType, owner_id: ownerId },
      ip_address,
    },
  };
}

const ErrorSchema = z
  .object({
    error: z.object({
      message: z.string(),
      type: z.string(),
      param: z.string().nullable(),
      code: z.string().nullable(),
    }),
  })
  .openapi('Error');

const refusal = (description: string) => ({
  description,
  content: { 'application/json': { schema: ErrorSchema } },
});

/** The replies of a route: its object, and the refusals that any route may give. */
export function replies<S extends z.ZodType>(schema: S, description: string) {
  return {
    200: { description, content: { 'application/json': { schema } } },
    400: refusal('A field is missing or not allowed; `param` names it.'),
    401: refusal('No key, or one that will not do.'),
    403: refusal('A valid key without the right.'),
    404: refusal('No such object in this organization or project.'),
    503: refusal('The store cannot be reached; try again.'),
  };
}

/** A request's JSON body. */
export function jsonBody<S extends z.ZodType>(schema: S) {
  return { required: true, content: { 'application/json': { schema } } };
}

/** What people call things: shown in lists and logs, so one line of well-formed text (no control characters). */
export const NameSchema = z
  .string()
  .trim()
  .min(1, 'must not be empty')
  .max(256, 'must be at most 256 characters long')
  .refine((name) => name.isWellFormed() && !/\p{Cc}/u.test(name), 'must not hold control characters');

/** An e-mail address, kept in lower case. */
export const EmailSchema = z
  .email('must be an e-mail address')
  .max(320)
  .transform((email) => email.toLowerCase())
  .openapi({ type: 'string', format: 'email' });

export const IdSchema = z.string().min(1).max(128);

/** A project's id in a path. It is only ever used together with the caller's organization. */
export const ProjectIdSchema = IdSchema.transform((id) => id as ProjectId).openapi({ type: 'string' });

export const TimestampSchema = z.int().openapi({ description: 'Unix time in seconds.' });

/** Unix seconds, as the API writes times. */
export function seconds(ms: number): number {
  return Math.floor(ms / 1000);
}

export function secondsOrNull(ms: number | null): number | null {
  return ms === null ? null : seconds(ms);
}
