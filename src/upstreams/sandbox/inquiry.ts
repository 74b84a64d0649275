// A request as the endpoints see it: routed, its script read, its body parsed where it is JSON.

import type { SandboxModel } from './model.ts';
import type { Script } from './script.ts';

export interface Inquiry {
  /** The parsed JSON body; undefined where there is none. */
  readonly body: unknown;
  /** The form of a multipart body. */
  readonly form: Form | null;
  /** The model asked for, without its script. Empty where none was named. */
  readonly model: string;
  /** The model that answers, and whether it was asked for by its own name. */
  readonly served: SandboxModel;
  readonly own: boolean;
  readonly script: Script;
}

/** A multipart form: the fields in order, and one file. */
export interface Form {
  readonly fields: ReadonlyMap<string, readonly string[]>;
  readonly file: { readonly field: string; readonly name: string; readonly bytes: Uint8Array } | null;
}
