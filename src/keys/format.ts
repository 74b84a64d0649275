// The key format. A key is
//
//     sk-proj-  4nHq8…22 base62  a2V5Z2F0ZQ  Zt0c…22 base62  3xPq0a
//     prefix    random           marker      random          checksum
//
// - The prefix says what kind of key it is; official clients and tools already know `sk-proj-`, `sk-svcacct-` and
//   `sk-admin-`. `sk-test-` is keygate's own: such a key reaches the sandbox only.
// - 44 random base62 characters from the system's generator are 262 bits, so that one SHA-256 is a safe digest.
// - The marker is base64 of "keygate". Scanners find a key by it with one linear regular expression. It is not the
//   marker of OpenAI's own keys, whose detectors would otherwise report ours to them.
// - The checksum is CRC-32 of all that precedes it, in base62. It is public and proves nothing; it lets a mistyped
//   or invented key be refused before any digest or look-up. CRC-32 finds every single wrong character and every
//   swap of two neighbours (burst errors of up to 32 bits).
//
// Every function here does work bounded by a key's own length, whatever length is presented.

import { hash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { randomBase62 } from '../platform/ids.ts';
import type { KeyType } from './model.ts';

const PREFIXES = {
  project: 'sk-proj-',
  service_account: 'sk-svcacct-',
  admin: 'sk-admin-',
  test: 'sk-test-',
  session: 'sk-sess-',
} as const satisfies Record<KeyType, string>;

/** What access tokens begin with; whether one is genuine is for its signature to say (src/identity/tokens). */
export const TOKEN_PREFIX = 'sk-wif-';

const KINDS = Object.entries(PREFIXES).map(([type, prefix]) => ({ type: type as KeyType, prefix }));

/** What every key carries in its middle: base64 of "keygate", without padding. */
export const KEY_MARKER = 'a2V5Z2F0ZQ';

const RANDOM_HALF = 22;
const CHECKSUM = 6;
const BODY = RANDOM_HALF + KEY_MARKER.length + RANDOM_HALF + CHECKSUM;

/** The longest key, in characters: 71. */
export const KEY_LENGTH_MAX = PREFIXES.service_account.length + BODY;

/**
 * The one regular expression for scanners: linear, without look-around or back-references, so that RE2, Hyperscan
 * and grep -E run it too. Check a hit with `parseKey`; with a right checksum it is a key of some keygate.
 */
export const KEY_PATTERN = /sk-(?:proj|svcacct|admin|test|sess)-[0-9A-Za-z]{22}a2V5Z2F0ZQ[0-9A-Za-z]{28}/;

/**
 * Why a text is no key: `legacy`, the platform's old `sk-…` and `sk-None-…`; `foreign`, another issuer's;
 * `malformed`, our prefix on the wrong length or characters; `checksum`, the right form with a wrong character.
 */
export type KeyFlaw = 'legacy' | 'foreign' | 'malformed' | 'checksum';

export type ParsedKey =
  | { readonly ok: true; readonly type: KeyType | 'access_token' }
  | { readonly ok: false; readonly reason: KeyFlaw };

// Shared, because this runs on every call: nothing is allocated for a reply.
const FOUND = KINDS.map(({ type, prefix }) => {
  const parsed: ParsedKey = { ok: true, type };
  return { prefix, crc: ~crc32(prefix), parsed };
});
type Found = (typeof FOUND)[number];
const ACCESS_TOKEN: ParsedKey = { ok: true, type: 'access_token' };
const LEGACY: ParsedKey = { ok: false, reason: 'legacy' };
const FOREIGN: ParsedKey = { ok: false, reason: 'foreign' };
const MALFORMED: ParsedKey = { ok: false, reason: 'malformed' };
const CHECKSUM_WRONG: ParsedKey = { ok: false, reason: 'checksum' };

const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
const VALUE = new Int8Array(128).fill(-1);
for (let value = 0; value < BASE62.length; value++) VALUE[BASE62.charCodeAt(value)] = value;

// CRC-32 (ISO 3309) a byte at a time. zlib's own is used to mint; on the road one loop for characters and checksum
// is twice as fast as calling out of JavaScript, and a test holds the two equal.
const CRC_STEP = Int32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  return crc;
});

/** A new key of this type. The only copy: whoever calls this shows it once and keeps the digest. */
export function mintKey(type: KeyType): string {
  const random = randomBase62(2 * RANDOM_HALF);
  const body =
    PREFIXES[type] + random.slice(0, RANDOM_HALF) + KEY_MARKER + random.slice(RANDOM_HALF, 2 * RANDOM_HALF);
  return body + checksum(body);
}

/** Whether `text` has the form and the checksum of a key, and of which type. No look-up and no secret involved. */
export function parseKey(text: string): ParsedKey {
  for (const found of FOUND) {
    if (text.startsWith(found.prefix)) return checkBody(text, found);
  }
  if (text.startsWith(TOKEN_PREFIX)) return ACCESS_TOKEN;
  return isLegacy(text) ? LEGACY : FOREIGN;
}

function checkBody(text: string, { prefix, crc: start, parsed }: Found): ParsedKey {
  if (text.length !== prefix.length + BODY || !text.startsWith(KEY_MARKER, prefix.length + RANDOM_HALF)) {
    return looksLikeOpenAi(text) ? FOREIGN : MALFORMED;
  }
  const end = text.length - CHECKSUM;
  let crc = start;
  for (let at = prefix.length; at < end; at++) {
    const code = text.charCodeAt(at);
    if ((VALUE[code] ?? -1) < 0) return MALFORMED;
    crc = (crc >>> 8) ^ (CRC_STEP[(crc ^ code) & 0xff] ?? 0);
  }
  let given = 0;
  for (let at = end; at < text.length; at++) {
    const value = VALUE[text.charCodeAt(at)] ?? -1;
    if (value < 0) return MALFORMED;
    given = given * 62 + value;
  }
  return given === ~crc >>> 0 ? parsed : CHECKSUM_WRONG;
}

/** `sk-` and then letters and digits alone, or `sk-None-…`: what the platform issued before project keys. */
function isLegacy(text: string): boolean {
  if (!text.startsWith('sk-')) return false;
  return text.startsWith('None-', 3) || !text.slice(3, 3 + KEY_LENGTH_MAX).includes('-');
}

/** OpenAI's project keys carry base64 of "OpenAI" after 58 or 74 characters. */
function looksLikeOpenAi(text: string): boolean {
  return text.slice(0, 128).includes('T3BlbkFJ');
}

function checksum(body: string): string {
  let rest = crc32(body);
  let text = '';
  for (let place = 0; place < CHECKSUM; place++) {
    text = BASE62.charAt(rest % 62) + text;
    rest = Math.floor(rest / 62);
  }
  return text;
}

/** SHA-256 of a key: 32 bytes as a latin1 string, the compact form that the registry is keyed by. */
export function digestKey(text: string): string {
  return hash('sha256', text, 'binary');
}

/** The same digest as the bytes that the store keeps. */
export function digestBytes(digest: string): Uint8Array {
  return Buffer.from(digest, 'latin1');
}

/** What lists and the store keep of a key to be told apart by: prefix, three characters, and the last four. */
export function redact(key: string): string {
  const prefix = prefixOf(key);
  return `${prefix}${key.slice(prefix.length, prefix.length + 3)}...${key.slice(-4)}`;
}

/**
 * What an error may repeat of a presented text: a prefix of ours, stars, and the last four characters if the text is
 * as long as a secret would be. Of a short text only stars, because four of its characters could be half of it.
 */
export function maskPresented(text: string): string {
  const prefix = prefixOf(text);
  if (text.length < prefix.length + 24) return STARS;
  return prefix + STARS + text.slice(-4).replace(/[^0-9A-Za-z_-]/g, '*');
}

const STARS = '************';

function prefixOf(text: string): string {
  if (text.startsWith(TOKEN_PREFIX)) return TOKEN_PREFIX;
  return KINDS.find(({ prefix }) => text.startsWith(prefix))?.prefix ?? '';
}
