// Who signs in, and why somebody could not.

/** Why a sign-in failed: a code, for the audit log. `pending`: it has not failed yet (RFC 8628 section 3.5). */
export class SignInFailed extends Error {
  override readonly name = 'SignInFailed';
  readonly code: string;
  readonly pending: boolean;
  constructor(code: string, pending = false) {
    super(code);
    this.code = code;
    this.pending = pending;
  }
}

export interface Person {
  readonly subject: string;
  readonly email: string | null;
  readonly emailVerified: boolean;
  readonly name: string | null;
}
