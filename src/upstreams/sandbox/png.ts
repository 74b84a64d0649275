// A small PNG (W3C PNG, third edition) of four colours: a symmetrical pattern that follows from a text.

import { crc32, deflateSync } from 'node:zlib';
import { Seed } from './seed.ts';

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
const CELLS = 8;
const BITS = 2;
const PALETTE_COLOUR = 3;

/** A picture of exactly this size, in pixels. The same text and size always give the same bytes. */
export function patternPng(text: string, width: number, height: number): Buffer {
  const seed = new Seed(text);
  const palette = Buffer.alloc(12);
  for (let i = 0; i < palette.length; i++) palette[i] = i < 3 ? 245 : seed.between(40, 220);
  const cells = Array.from({ length: CELLS }, () =>
    mirrored(Array.from({ length: CELLS / 2 }, () => seed.between(0, 3))),
  );

  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = BITS;
  header[9] = PALETTE_COLOUR;

  const rows = cells.map((row) => scanline(row, width));
  const stride = Math.ceil((width * BITS) / 8) + 1;
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y++) rows[Math.floor((y * CELLS) / height)]?.copy(pixels, y * stride);
  return Buffer.concat([
    SIGNATURE,
    chunk('IHDR', header),
    chunk('PLTE', palette),
    chunk('IDAT', deflateSync(pixels)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

function mirrored(half: readonly number[]): number[] {
  return [...half, ...half.toReversed()];
}

// A filter byte of zero, then four pixels to the byte, the leftmost in the high bits.
function scanline(cells: readonly number[], width: number): Buffer {
  const line = Buffer.alloc(Math.ceil((width * BITS) / 8) + 1);
  for (let x = 0; x < width; x++) {
    const colour = cells[Math.floor((x * CELLS) / width)] ?? 0;
    const at = 1 + (x >> 2);
    line[at] = (line[at] ?? 0) | (colour << (6 - 2 * (x & 3)));
  }
  return line;
}

function chunk(type: string, data: Buffer): Buffer {
  const typed = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const framed = Buffer.alloc(typed.length + 8);
  framed.writeUInt32BE(data.length, 0);
  typed.copy(framed, 4);
  framed.writeUInt32BE(crc32(typed), typed.length + 4);
  return framed;
}
