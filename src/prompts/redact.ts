// Strikes secrets out of what is logged of prompts and replies: keys of ours and of well-known providers and services,
// what an Authorization header would hold, private keys, passwords in addresses, and values that stand under a name such
// as `password`. E-mail addresses and card numbers too, where the administrator asks for it.
//
// Every pattern is linear in the text: bounded repetitions, no nested ones.

const REDACTED = '[redacted]';

/** Texts that are secrets by their own form. */
const FORMS: readonly RegExp[] = [
  // Ours, OpenAI's, Anthropic's, OpenRouter's and others of this form; Stripe's with underscores.
  /\b(?:sk|rk|pk)[-_][A-Za-z0-9_-]{8,}/g,
  /\b(?:AIza|ya29\.)[A-Za-z0-9_-]{20,}/g,
  /\b(?:gh[opsur]_|github_pat_|glpat-|hf_|gsk_|npm_|pypi-|xai-|hvs\.|dop_v1_|pplx-|r8_)[A-Za-z0-9_-]{16,}/g,
  /\bxox[abeoprs]-[A-Za-z0-9-]{8,}/g,
  /\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g,
  /\bSG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}/g,
  // JSON Web Tokens (RFC 7519): a header, claims, perhaps a signature.
  /\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?/g,
  // A private key (RFC 7468), to its end or, where the text was cut, to the text's.
  /-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|$)/g,
];

/** What stands behind a scheme, in an address, or under a telling name: the name stays. */
const PLACES: readonly RegExp[] = [
  /(\b(?:Bearer|Basic|DPoP)\s{1,8})[A-Za-z0-9+/=._~-]{8,}/gi,
  /(:\/\/[^\s/@:]{0,256}:)[^\s/@]{1,256}(?=@)/g,
  /(\b(?:[a-z]{1,20}[_-])?(?:api[_-]?key|secret|token|passwd|password|authorization|credential)s?\\?["']?\s{0,8}[:=]\s{0,8}\\?["']?)[^\s"',;}\\]{6,}/gi,
];

const EMAIL = /\b[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,253}\.[A-Za-z]{2,24}\b/g;
const CARD = /\b\d(?:[ -]?\d){12,18}\b/g;

/** Members of JSON whose value is a secret, or a group of them. */
const NAMES =
  /^(?:.{1,40}[_-])?(?:api[_-]?key|secret|token|passwd|password|authorization|credentials?|cookie)$/i;
const GROUPS = /^(?:headers|env)$/i;

export interface Redaction {
  /** E-mail addresses and card numbers too. */
  readonly personal: boolean;
}

export function redactText(text: string, { personal }: Redaction): string {
  let out = text;
  for (const form of FORMS) out = out.replace(form, REDACTED);
  for (const place of PLACES) out = out.replace(place, (_whole, before: string) => before + REDACTED);
  if (!personal) return out;
  return out.replace(EMAIL, REDACTED).replace(CARD, (digits) => (isCard(digits) ? REDACTED : digits));
}

/** The same value with every text in it redacted. Names of members are texts too: a caller may put anything there. */
export function redactValue(value: unknown, redaction: Redaction): unknown {
  return redacted(value, redaction, false);
}

function redacted(value: unknown, redaction: Redaction, whole: boolean): unknown {
  if (typeof value === 'string') return whole ? REDACTED : redactText(value, redaction);
  if (Array.isArray(value)) return value.map((item) => redacted(item, redaction, whole));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, member]) => {
      const secret = whole || NAMES.test(name) || (GROUPS.test(name) && typeof member === 'object');
      return [redactText(name, redaction), redacted(member, redaction, secret)];
    }),
  );
}

/** Luhn's check digit (ISO/IEC 7812-1). */
function isCard(text: string): boolean {
  const digits = text.replace(/\D/g, '');
  let sum = 0;
  for (let at = 0; at < digits.length; at++) {
    const digit = Number(digits[digits.length - 1 - at]);
    const doubled = digit * 2;
    sum += at % 2 === 0 ? digit : doubled > 9 ? doubled - 9 : doubled;
  }
  return sum % 10 === 0;
}
