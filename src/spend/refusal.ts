// What a caller is told when money is the reason: the published type `insufficient_quota`, a code that names whose limit
// it is, and `x-should-retry`, because the official clients would otherwise try each 429 again.

import { ApiError, unavailable } from '../platform/errors.ts';
import type { Budget } from './budgets/model.ts';
import type { Refusal, Unavailable } from './escrow/answers.ts';

const NANO_PER_DOLLAR = 1_000_000_000n;
/** After a refusal that may pass, in seconds: the calls under way take about as long. */
const RETRY_SECONDS = 1;

/** As the platform begins it, so that whoever knows that text knows this one. */
const QUOTA = 'You exceeded your current quota, please check your plan and billing details.';

const WAYS =
  'declare it post-paid (`keygate credits postpaid`, or `spend: {account: postpaid}` in keygate.yaml), or grant it credits (`keygate credits grant 20`)';

/** What a start says while paid calls would be refused. */
export const UNDECLARED = `Calls to providers are refused until it is said how they are paid: ${WAYS}.`;

/** Nobody said how the organization pays: 429, and what to do about it. */
export function undeclared(): ApiError {
  return new ApiError(
    429,
    `${QUOTA} Nobody said yet how this organization pays for its calls, so that paid ones are refused. An administrator can ${WAYS}. Test keys and the sandbox's models cost nothing.`,
    { type: 'insufficient_quota', code: 'billing_not_active', headers: ['x-should-retry', 'false'] },
  );
}

/** A hard limit does not bear the call: 429. */
export function limitReached(refusal: Refusal<Budget>, worst: number): ApiError {
  const { budget, resetsAt, retryable } = refusal;
  if (budget.scope === 'credits') return creditsUsedUp(refusal, worst);
  const window = budget.period === 'total' ? '' : ` for this ${budget.period}`;
  const until = Number.isFinite(resetsAt)
    ? `It resets at ${new Date(resetsAt).toISOString().replace('.000', '')}; until then an administrator can raise it.`
    : 'An administrator can raise it.';
  const smaller = `This call could cost up to ${dollars(BigInt(worst))}; one with a smaller max_tokens may still pass.`;
  const again = ' Calls that are under way may leave some of what they hold: try again in a moment.';
  const message = `The spend limit of ${dollars(budget.limit)}${window} of ${ownerOf(budget, refusal.subject)} does not allow this call. ${smaller} ${until}${retryable ? again : ''}`;
  return new ApiError(429, message, {
    type: 'insufficient_quota',
    code: `${budget.scope}_spend_limit_exceeded`,
    headers: retryHeaders(retryable),
  });
}

/** The prepaid credits do not bear the call: 429. */
function creditsUsedUp({ retryable }: Refusal<Budget>, worst: number): ApiError {
  const again = retryable
    ? ' Calls that are under way may leave some of what they hold: try again in a moment.'
    : '';
  return new ApiError(
    429,
    `${QUOTA} The organization's prepaid credits do not bear this call, which could cost up to ${dollars(BigInt(worst))}; one with a smaller max_tokens may still pass. An administrator can add credits.${again}`,
    {
      type: 'insufficient_quota',
      code: 'credit_balance_exhausted',
      headers: retryHeaders(retryable),
    },
  );
}

function retryHeaders(retryable: boolean): string[] {
  return retryable
    ? ['x-should-retry', 'true', 'retry-after', String(RETRY_SECONDS)]
    : ['x-should-retry', 'false'];
}

/** There is no answer now: 503. */
export function limitsUnknown({ reason }: Unavailable): ApiError {
  switch (reason) {
    case 'clock':
      return unavailable(
        'The clock of this server differs from the database’s, so that the spend limits of this window cannot be checked. Please try again.',
        10,
      );
    case 'busy':
      return unavailable('Too many calls wait for the spend limits to be checked. Please try again.', 2);
    case 'timeout':
      return unavailable('The spend limits could not be checked in time. Please try again.', 2);
  }
}

/** A model without a price, and a hard limit above the call: 403, since only an administrator can mend it. */
export function unpriced(model: string, tier: string | null): ApiError {
  const how = tier === null ? '' : ` on service tier \`${tier}\``;
  return new ApiError(
    403,
    `The model \`${model}\` has no price on this server${how}, so that its calls cannot be kept within the spend limit that applies to you. An administrator can add a price under \`prices\`, or set \`spend.unpriced: count\`.`,
    { code: 'model_unpriced', headers: ['x-should-retry', 'false'] },
  );
}

function ownerOf({ scope, scopeId }: Budget, subject: string): string {
  switch (scope) {
    case 'organization':
    case 'credits':
      return 'the organization';
    case 'project':
      return scopeId === '*' ? 'each project' : `project ${scopeId}`;
    case 'api_key':
      return 'this API key';
    case 'service_account':
      return 'this service account';
    case 'group':
      return `group ${scopeId === '*' ? subject : scopeId}`;
    case 'end_user':
      return 'this end user';
  }
}

/** `$12.00`; with as many digits as there are below a cent. */
export function dollars(nano: bigint): string {
  const cents = (nano % NANO_PER_DOLLAR)
    .toString()
    .padStart(9, '0')
    .replace(/0{1,7}$/, '');
  return `$${(nano / NANO_PER_DOLLAR).toLocaleString('en-US')}.${cents}`;
}
