// The published x-ratelimit-* reply headers, flat: name, value, name, value. They tell about the tightest pool of each
// kind after this call: `remaining` R means that a call of R passes now and one of R + 1 does not, and `reset` is the
// time until that bucket is full again.
//
// Published (API reference, "Rate limits" guide): -requests and -tokens on every reply, -project-tokens where a project
// has a token limit of its own. -images follows the same form, on calls that make images.

import { goDuration } from './duration.ts';
import type { Standing, Tightest } from './limiter.ts';

export function rateLimitHeaders(standing: Standing): string[] {
  const headers: string[] = [];
  const { requests, tokens, projectTokens, images } = standing;
  if (requests.pool !== null) {
    headers.push(
      'x-ratelimit-limit-requests',
      requests.pool.rate.text,
      'x-ratelimit-remaining-requests',
      String(requests.remaining),
      'x-ratelimit-reset-requests',
      reset(requests),
    );
  }
  if (tokens.pool !== null) {
    headers.push(
      'x-ratelimit-limit-tokens',
      tokens.pool.rate.text,
      'x-ratelimit-remaining-tokens',
      String(tokens.remaining),
      'x-ratelimit-reset-tokens',
      reset(tokens),
    );
  }
  if (projectTokens.pool !== null) {
    headers.push(
      'x-ratelimit-limit-project-tokens',
      projectTokens.pool.rate.text,
      'x-ratelimit-remaining-project-tokens',
      String(projectTokens.remaining),
      'x-ratelimit-reset-project-tokens',
      reset(projectTokens),
    );
  }
  if (images.pool !== null) {
    headers.push(
      'x-ratelimit-limit-images',
      images.pool.rate.text,
      'x-ratelimit-remaining-images',
      String(images.remaining),
      'x-ratelimit-reset-images',
      reset(images),
    );
  }
  return headers;
}

/** The same as header lines of a reply. */
export function rateLimitLines({ requests, tokens, projectTokens, images }: Standing): string {
  return (
    linesOf('requests', requests) +
    linesOf('tokens', tokens) +
    linesOf('project-tokens', projectTokens) +
    linesOf('images', images)
  );
}

function linesOf(name: string, tightest: Tightest): string {
  if (tightest.pool === null) return '';
  const { text } = tightest.pool.rate;
  return `x-ratelimit-limit-${name}: ${text}\r\nx-ratelimit-remaining-${name}: ${tightest.remaining}\r\nx-ratelimit-reset-${name}: ${reset(tightest)}\r\n`;
}

/** A limit of 0 is never full again; its reset is its period. */
function reset(tightest: Tightest): string {
  const ms = tightest.resetMs;
  return goDuration(Number.isFinite(ms) ? ms : (tightest.pool?.rate.periodMs ?? 0));
}
