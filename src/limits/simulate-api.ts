// keygate's own routes that try a table of limits before it is saved: recorded traffic is replayed against it, and the
// answer says what would have been refused. The traffic is this server's usage records of some days, or NDJSON.

import { createRoute, z } from '@hono/zod-openapi';
import {
  type Authentication,
  type ControlApp,
  type ControlContext,
  jsonBody,
  newApp,
  replies,
  TimestampSchema,
} from '../access/http.ts';
import { invalidParameter } from '../access/validation.ts';
import { ApiError, SetupError } from '../platform/errors.ts';
import type { LiveApiDeps } from './live-api.ts';
import { DAY_MS } from './model.ts';
import { recordedSegments, runSimulation, type Simulated } from './simulation.ts';
import type { Input, SimulationOrder } from './simulation-model.ts';
import { allStatements, type Statement } from './statements.ts';
import { tableOverDefault } from './table-over-default.ts';
import type { Table } from './tables.ts';

export interface SimulateApiDeps extends LiveApiDeps {
  /** The table of the configuration. */
  readonly table: Table;
  /** The most bytes of recorded calls that are taken. */
  readonly uploadBytes: number;
}

const SIMULATE = '/v1/keygate/limits/simulate';
/** Recorded calls come in the body, which may be long. */
export const SIMULATE_EVENTS = `${SIMULATE}/events`;
const MOST_DAYS = 400;
/** Rows of each list of the answer. */
const MOST_ROWS = 1_000;
const FIRST_LINE_BYTES = 1024 * 1024;
const MOST_STATEMENTS = 200_000;

const Proposal = {
  table: z
    .record(z.string(), z.unknown())
    .optional()
    .openapi({
      description:
        'What stands under `limits:` in keygate.yaml; what it leaves out is as in the default table. Without it, the ' +
        "configuration's own table.",
    }),
  statements: z.enum(['keep', 'leave_out']).default('keep').openapi({
    description: 'Whether what was stated by this API stays over the table, as it does in truth.',
  }),
};

const SimulateBody = z
  .strictObject({
    ...Proposal,
    days: z.number().positive('must be above 0').max(MOST_DAYS).optional(),
    since: TimestampSchema.min(0).optional(),
  })
  .refine(({ days, since }) => (days === undefined) !== (since === undefined), {
    path: ['days'],
    message: "name either 'days' or 'since'",
  });

const FirstLine = z.strictObject(Proposal);

const Counts = { calls: z.int(), refused: z.int(), tokens: z.int(), refused_tokens: z.int() };
const Share = z.object({ name: z.string(), ...Counts });

const SimulationSchema = z
  .object({
    object: z.literal('keygate.limit_simulation'),
    ...Counts,
    from: z.int().nullable().openapi({ description: 'The first call, Unix time in milliseconds.' }),
    to: z.int().nullable(),
    out_of_order: z.int(),
    unreadable_segments: z.int().openapi({ description: 'Groups of usage records that are damaged.' }),
    by_project: z.array(Share),
    by_model: z.array(Share),
    by_limit: z.array(
      z.object({
        scope: z.string(),
        subject_id: z.string(),
        cover: z.string(),
        name: z.string(),
        dimension: z.string(),
        limit: z.int(),
        refused: z.int(),
      }),
    ),
    examples: z.array(z.object({ request_id: z.string(), at: z.int(), message: z.string() })),
  })
  .openapi('LimitSimulation');

export function simulateApi(deps: SimulateApiDeps, { admin }: Authentication): ControlApp {
  const { store, clock } = deps;
  const app = newApp();
  const tags = ['keygate limits'];

  const recorded = createRoute({
    method: 'post',
    path: SIMULATE,
    tags,
    middleware: [admin] as const,
    request: { body: jsonBody(SimulateBody) },
    responses: replies(SimulationSchema, 'What the table would have refused of the recorded calls.'),
  });
  app.openapi(recorded, async (c) => {
    const { days, since: from = 0, ...proposal } = c.req.valid('json');
    const since = days === undefined ? from * 1000 : clock.now() - Math.ceil(days * DAY_MS);
    const order = await orderOf(deps, c, proposal, since);
    return c.json(
      answer(await runSimulation(order, recordedSegments(store.db, since), c.req.raw.signal)),
      200,
    );
  });

  const sent = createRoute({
    method: 'post',
    path: SIMULATE_EVENTS,
    tags,
    middleware: [admin] as const,
    request: {
      body: {
        required: true,
        description:
          'First a line with the `table`, then a line for each call, oldest first: `at` (Unix seconds or ISO 8601), ' +
          '`project_id`, `model`, `input_tokens`, and where there are any `output_tokens`, `images`, `audio_seconds`, ' +
          '`api_key_id`, `service_account_id`, `request_id`.',
        content: { 'application/x-ndjson': { schema: z.string() } },
      },
    },
    responses: replies(SimulationSchema, 'What the table would have refused of these calls.'),
  });
  app.openapi(sent, async (c) => {
    const { body } = c.req.raw;
    if (body === null) throw new ApiError(400, 'The request has no body: send NDJSON.');
    const reader = new Upload(body, deps.uploadBytes);
    const order = await orderOf(deps, c, proposalOf(await reader.firstLine()), 0);
    return c.json(answer(await runSimulation(order, reader.rest(), c.req.raw.signal)), 200);
  });

  return app;
}

async function orderOf(
  deps: SimulateApiDeps,
  c: ControlContext,
  proposal: z.output<typeof FirstLine>,
  since: number,
): Promise<SimulationOrder> {
  const { organizationId } = c.get('principal');
  const statements: Statement[] = [];
  if (proposal.statements === 'keep') {
    for await (const page of allStatements(deps.store.db, organizationId)) {
      if (statements.push(...page) > MOST_STATEMENTS) {
        throw invalidParameter(
          'statements',
          `More than ${MOST_STATEMENTS} limits are stated: leave them out.`,
        );
      }
    }
  }
  const { paidTotal, firstPaymentAt, pinned } = deps.live.standing(organizationId);
  return {
    table: proposal.table === undefined ? deps.table : checkedTable(proposal.table),
    statements,
    organizationId,
    account: { paidTotal, firstPaymentAt, pinned },
    now: deps.clock.now(),
    since,
  };
}

function checkedTable(given: Readonly<Record<string, unknown>>): Table {
  try {
    return tableOverDefault(given, 'table');
  } catch (error) {
    if (error instanceof SetupError) throw invalidParameter('table', error.message);
    throw error;
  }
}

function proposalOf(line: string): z.output<typeof FirstLine> {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    throw new ApiError(400, 'The first line must be JSON with the table: {"table": {…}}.');
  }
  const parsed = FirstLine.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new ApiError(
    400,
    'The first line must be an object with the table: {"table": {…}}; the calls come after it.',
  );
}

/** A body that is read once: its first line, then what follows, as it comes. */
class Upload {
  private readonly reader: ReadableStreamDefaultReader<Uint8Array>;
  private readonly most: number;
  private read = 0;
  private left: Uint8Array = new Uint8Array();

  constructor(body: ReadableStream<Uint8Array>, most: number) {
    this.reader = body.getReader();
    this.most = most;
  }

  async firstLine(): Promise<string> {
    const parts: Uint8Array[] = [];
    for (;;) {
      const chunk = await this.next();
      const end = chunk?.indexOf(10) ?? 0;
      if (chunk === undefined || end >= 0) {
        if (chunk !== undefined) {
          parts.push(chunk.subarray(0, end));
          this.left = chunk.subarray(end + 1);
        }
        return Buffer.concat(parts).toString('utf8');
      }
      parts.push(chunk);
      if (this.read > FIRST_LINE_BYTES) throw new ApiError(413, 'The first line is larger than 1 MB.');
    }
  }

  async *rest(): AsyncGenerator<Input> {
    if (this.left.length > 0) yield { kind: 'text', bytes: this.left };
    for (let chunk = await this.next(); chunk !== undefined; chunk = await this.next()) {
      yield { kind: 'text', bytes: chunk };
    }
  }

  private async next(): Promise<Uint8Array | undefined> {
    const { value } = await this.reader.read();
    this.read += value?.length ?? 0;
    if (this.read > this.most)
      throw new ApiError(413, `More than ${this.most} bytes of calls are not taken.`);
    return value;
  }
}

function answer(simulated: Simulated): z.infer<typeof SimulationSchema> {
  const share = ({ refusedTokens, ...counts }: Simulated['byProject'][number]) => ({
    ...counts,
    refused_tokens: refusedTokens,
  });
  return {
    object: 'keygate.limit_simulation',
    calls: simulated.calls,
    refused: simulated.refused,
    tokens: simulated.tokens,
    refused_tokens: simulated.refusedTokens,
    from: simulated.from,
    to: simulated.to,
    out_of_order: simulated.outOfOrder,
    unreadable_segments: simulated.unreadable,
    by_project: simulated.byProject.slice(0, MOST_ROWS).map(share),
    by_model: simulated.byModel.slice(0, MOST_ROWS).map(share),
    by_limit: simulated.byLimit
      .slice(0, MOST_ROWS)
      .map(({ subject, ...limit }) => ({ ...limit, subject_id: subject })),
    examples: simulated.examples.map(({ requestId, ...example }) => ({ ...example, request_id: requestId })),
  };
}
