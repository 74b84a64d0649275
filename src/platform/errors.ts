// Every refusal that a caller of the API can meet: one typed class, the published shape
// {"error":{"message","type","param","code"}}, and no secret and no stack in it, ever.

export interface ErrorBody {
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string | null;
  };
}

export interface ApiErrorDetail {
  readonly type?: string;
  readonly code?: string | null;
  readonly param?: string | null;
  /** Extra reply headers, flat: name, value, name, value. */
  readonly headers?: readonly string[];
}

/** A refusal: an HTTP status and what the caller is told. Its message is for people and says what to do. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly type: string;
  readonly code: string | null;
  readonly param: string | null;
  readonly headers: readonly string[];

  constructor(status: number, message: string, detail: ApiErrorDetail = {}) {
    // A refusal is an answer, not a fault: no stack is taken, which keeps a flood of bad keys cheap.
    const limit = Error.stackTraceLimit;
    Error.stackTraceLimit = 0;
    super(message);
    Error.stackTraceLimit = limit;
    this.status = status;
    this.type = detail.type ?? (status >= 500 ? 'server_error' : 'invalid_request_error');
    this.code = detail.code ?? null;
    this.param = detail.param ?? null;
    this.headers = detail.headers ?? [];
  }

  body(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

/** Something inside is down: the caller learns that, and not that its key is bad (503, never 401). */
export function unavailable(message: string, retryAfterSeconds = 1): ApiError {
  return new ApiError(503, message, {
    type: 'service_unavailable_error',
    code: 'service_unavailable',
    headers: ['retry-after', String(retryAfterSeconds)],
  });
}

/** The administrator's setting or command cannot be used; the message says which one and what to do. */
export class SetupError extends Error {
  override readonly name = 'SetupError';
}
