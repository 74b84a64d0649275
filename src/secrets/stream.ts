// Files, sealed as they pass: the STREAM construction of online authenticated encryption (Hoang, Reyhanitabar,
// Rogaway, Vizár 2015) as Tink's AES-GCM-HKDF streaming has it. Segments of 64 KiB, each with its place in its nonce
// and the last one marked, so that none can be left out, repeated, moved or cut off. Memory stays at one segment.
//
//     version 1 | salt 16 | nonce prefix 7 | segments: encrypted bytes, at most 65,536 | tag 16
//     key of the stream = HKDF-SHA-256(data key, salt, place); nonce = prefix | segment's number 4 | 1 if it is the last

import { createCipheriv, createDecipheriv, hash, hkdfSync, randomBytes } from 'node:crypto';
import { Transform, type TransformCallback } from 'node:stream';
import { damaged } from './envelope.ts';

export const SEGMENT_BYTES = 65_536;
const TAG_BYTES = 16;
const SALT_BYTES = 16;
const PREFIX_BYTES = 7;
const VERSION = 1;
export const STREAM_HEAD_BYTES = 1 + SALT_BYTES + PREFIX_BYTES;
/** The segment's number has four bytes; far more than any bound of a file. */
const SEGMENTS_MAX = 2 ** 32;

/** How many bytes `plain` bytes are when they are sealed. */
export function sealedLength(plain: number): number {
  return STREAM_HEAD_BYTES + plain + TAG_BYTES * Math.max(1, Math.ceil(plain / SEGMENT_BYTES));
}

/** How many bytes a sealed stream of this length holds. */
export function plainLength(sealed: number): number {
  const body = sealed - STREAM_HEAD_BYTES;
  return body - TAG_BYTES * Math.max(1, Math.ceil(body / (SEGMENT_BYTES + TAG_BYTES)));
}

abstract class Segments extends Transform {
  readonly #size: number;
  #kept: Buffer[] = [];
  #keptBytes = 0;
  #number = 0;

  constructor(size: number) {
    super();
    this.#size = size;
  }

  protected abstract begin(): void;
  protected abstract segment(bytes: Buffer, number: number, last: boolean): Buffer;

  /** Takes bytes; whole segments go out once it is known that they are not the last. */
  protected accept(chunk: Buffer): void {
    this.#kept.push(chunk);
    this.#keptBytes += chunk.length;
    if (this.#keptBytes <= this.#size) return;
    let bytes = Buffer.concat(this.#kept);
    while (bytes.length > this.#size) {
      this.push(this.#next(bytes.subarray(0, this.#size), false));
      bytes = bytes.subarray(this.#size);
    }
    this.#kept = [bytes];
    this.#keptBytes = bytes.length;
  }

  override _transform(chunk: Buffer | string, encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.accept(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk);
      done();
    } catch (error) {
      done(asError(error));
    }
  }

  override _flush(done: TransformCallback): void {
    try {
      this.begin();
      this.push(this.#next(Buffer.concat(this.#kept), true));
      done();
    } catch (error) {
      done(asError(error));
    }
  }

  #next(bytes: Buffer, last: boolean): Buffer {
    this.begin();
    if (this.#number >= SEGMENTS_MAX) throw new Error('a stream of too many segments');
    return this.segment(bytes, this.#number++, last);
  }
}

function streamKey(dataKey: Buffer, salt: Buffer, aad: Buffer): Buffer {
  // `info` of HKDF is bounded: the place goes in as its digest.
  return Buffer.from(hkdfSync('sha256', dataKey, salt, hash('sha256', aad, 'buffer'), 32));
}

function nonceOf(prefix: Buffer, number: number, last: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  prefix.copy(nonce);
  nonce.writeUInt32BE(number, PREFIX_BYTES);
  nonce[11] = last ? 1 : 0;
  return nonce;
}

/** Plain bytes in, sealed bytes out. */
export class SealingStream extends Segments {
  readonly #key: Buffer;
  readonly #head: Buffer;
  readonly #prefix: Buffer;
  #begun = false;

  constructor(dataKey: Buffer, aad: Buffer) {
    super(SEGMENT_BYTES);
    const salt = randomBytes(SALT_BYTES);
    this.#prefix = randomBytes(PREFIX_BYTES);
    this.#head = Buffer.concat([Buffer.from([VERSION]), salt, this.#prefix]);
    this.#key = streamKey(dataKey, salt, aad);
  }

  protected override begin(): void {
    if (!this.#begun) this.push(this.#head);
    this.#begun = true;
  }

  protected override segment(bytes: Buffer, number: number, last: boolean): Buffer {
    const cipher = createCipheriv('aes-256-gcm', this.#key, nonceOf(this.#prefix, number, last), {
      authTagLength: TAG_BYTES,
    });
    return Buffer.concat([cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
  }
}

/**
 * Sealed bytes in, plain bytes out: only such as were authenticated. Ends with an error when a segment was altered or
 * the end is missing, so what came out of it counts only once it has ended well.
 */
export class OpeningStream extends Segments {
  readonly #dataKey: Buffer;
  readonly #aad: Buffer;
  #head: Buffer = Buffer.alloc(0);
  #key: Buffer | null = null;
  #prefix: Buffer = Buffer.alloc(0);

  constructor(dataKey: Buffer, aad: Buffer) {
    super(SEGMENT_BYTES + TAG_BYTES);
    this.#dataKey = dataKey;
    this.#aad = aad;
  }

  protected override accept(chunk: Buffer): void {
    if (this.#key !== null) return super.accept(chunk);
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length < STREAM_HEAD_BYTES) return;
    if (this.#head[0] !== VERSION) throw damaged();
    this.#key = streamKey(this.#dataKey, this.#head.subarray(1, 1 + SALT_BYTES), this.#aad);
    this.#prefix = Buffer.from(this.#head.subarray(1 + SALT_BYTES, STREAM_HEAD_BYTES));
    const rest = this.#head.subarray(STREAM_HEAD_BYTES);
    this.#head = Buffer.alloc(0);
    super.accept(rest);
  }

  protected override begin(): void {
    if (this.#key === null) throw damaged();
  }

  protected override segment(bytes: Buffer, number: number, last: boolean): Buffer {
    if (bytes.length < TAG_BYTES || this.#key === null) throw damaged();
    const tagAt = bytes.length - TAG_BYTES;
    const decipher = createDecipheriv('aes-256-gcm', this.#key, nonceOf(this.#prefix, number, last), {
      authTagLength: TAG_BYTES,
    }).setAuthTag(bytes.subarray(tagAt));
    try {
      return Buffer.concat([decipher.update(bytes.subarray(0, tagAt)), decipher.final()]);
    } catch {
      throw damaged();
    }
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error('a stream could not be sealed or opened');
}
