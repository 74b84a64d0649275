// What a command may touch of the process around it, given to it so that a test can stand in for the process.

export interface Io {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly hostname: string;
  /** Whether standard output is a terminal: control characters are then kept from it. */
  readonly outIsTerminal: boolean;
  readonly inIsTerminal: boolean;
  /** All of standard input. */
  readonly readInput: () => Promise<string>;
  /** The text of a file; throws as `fs.readFileSync` does. */
  readonly readFile: (path: string) => string;
  /** Calls `listener` at every SIGINT and SIGTERM until the returned function is called. */
  readonly onSignal: (listener: () => void) => () => void;
  /** Ends the process at once. */
  readonly exitNow: (code: number) => void;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Monotonic milliseconds. */
  readonly monotonic: () => number;
}

/** Whether to print in colour: only to a terminal, and not when NO_COLOR says otherwise (no-color.org). */
export function inColour(io: Io): boolean {
  return io.outIsTerminal && (io.env['NO_COLOR'] ?? '') === '' && io.env['TERM'] !== 'dumb';
}

/**
 * Text from elsewhere (names, a model's words) as it may be written to a terminal: without the control characters by
 * which it could rewrite the screen or answer for the user. Line breaks and tabs stay.
 */
export function forTerminal(io: Io, text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is taken out
  return io.outIsTerminal ? text.replace(/[\x00-\x08\x0b-\x1f\x7f-\x9f]/g, '') : text;
}
