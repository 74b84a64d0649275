// What sealed bytes are for. Each purpose has a key of its own (derived, with a version), so that bytes sealed for one
// purpose open for no other: a webhook's secret that is copied into the place of a provider's credential is refused.

import type { OrganizationId, ProjectId } from '../platform/ids.ts';

interface PurposeRule {
  /** Of the derivation: a new version seals, older ones still open. 1 to 255. */
  readonly version: number;
  /** Whether it is a project's own content, which the project's external key covers. */
  readonly content: boolean;
}

export const PURPOSES = {
  /** A secret of the installation that has a name, such as a provider's credential. */
  secret: { version: 1, content: false },
  /** A provider's credential that belongs to one project. */
  upstream_credential: { version: 1, content: true },
  /** An uploaded or produced file. */
  file: { version: 1, content: true },
  /** Anything else that is kept for a project: batch lines, stored replies. */
  content: { version: 1, content: true },
  /** The key of a project's content, already wrapped by its external key. */
  content_key: { version: 1, content: false },
  /** What signs deliveries to a webhook, or opens a mail server. */
  delivery: { version: 1, content: false },
  /** A key that keygate signs tokens with. */
  signing_key: { version: 1, content: false },
  /** A client's secret at an identity provider, and what sign-in keeps. */
  sign_in: { version: 1, content: false },
} as const satisfies Record<string, PurposeRule>;

export type Purpose = keyof typeof PURPOSES;

/** Whose bytes they are and what for: bound to them, so that they open in this place only. */
export interface Place {
  readonly organizationId: OrganizationId;
  /** Null: it is the organization's. */
  readonly projectId: ProjectId | null;
  readonly purpose: Purpose;
  /** The record's own id. 1 to 512 characters. */
  readonly id: string;
}
