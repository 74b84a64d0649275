// What the exit codes mean, and the error by which a command ends with one of them.

export const EXIT = {
  ok: 0,
  /** The server answered and said no. */
  refused: 1,
  /** The command line cannot be understood, or leaves a choice open. */
  usage: 2,
  /** Nothing answers where the server should be, or it is not a keygate. */
  unreachable: 3,
  /** A fault of keygate's own (EX_SOFTWARE of sysexits.h). */
  fault: 70,
  /** A setting or variable is missing or cannot be used (EX_CONFIG of sysexits.h). */
  configuration: 78,
  /** Ended by Ctrl-C, or by a second signal during a stop. */
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command. Its message is one sentence that says what to do; the server's own faults are not among these. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: ExitCode;
  /** The server's own code of its refusal; null: it gave none. */
  readonly reason: string | null;

  constructor(code: ExitCode, message: string, options?: ErrorOptions & { readonly reason?: string | null }) {
    super(message, options);
    this.code = code;
    this.reason = options?.reason ?? null;
  }
}

export const EXIT_HELP = `
Exit codes:
  0    done
  1    the server refused, or a reply ended early
  2    the command line is wrong or leaves a choice open
  3    no keygate answers at that address
  70   a fault of keygate's own: please report it
  78   a setting or variable is missing or cannot be used
  130  interrupted`;
