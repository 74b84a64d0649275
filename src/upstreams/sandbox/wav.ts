// WAV files of 16-bit mono PCM: made from a text, with the text in them, and read back.
//
// The text stands in a LIST/INFO/ICMT chunk (comment), so that the sandbox can transcribe its own speech.

import { Seed } from './seed.ts';

export const SAMPLE_RATE = 8_000;
const MOST_COMMENT = 64 * 1024;
const BYTES = 2;

export interface WavFacts {
  readonly seconds: number;
  /** The comment chunk's text; empty for none. */
  readonly comment: string;
}

/** A quiet tone a word, its pitch from the word; `seconds` long in all. */
export function speak(text: string, seconds: number): Buffer {
  const words = text.split(/\s+/).filter((word) => word !== '');
  const samples = Buffer.alloc(Math.round(seconds * SAMPLE_RATE) * BYTES);
  const each = Math.max(1, Math.floor(samples.length / BYTES / Math.max(1, words.length)));
  for (let i = 0; i < samples.length / BYTES; i++) {
    const word = words[Math.min(words.length - 1, Math.floor(i / each))] ?? '';
    const within = (i % each) / each;
    // Silence between two words.
    const level = within > 0.8 ? 0 : 0.2;
    samples.writeInt16LE(
      Math.round(Math.sin((2 * Math.PI * pitch(word) * i) / SAMPLE_RATE) * level * 32_767),
      i * BYTES,
    );
  }
  return samples;
}

const pitches = new Map<string, number>();

function pitch(word: string): number {
  const known = pitches.get(word);
  if (known !== undefined) return known;
  if (pitches.size > 1_000) pitches.clear();
  const hertz = new Seed(word).between(180, 420);
  pitches.set(word, hertz);
  return hertz;
}

export function wavFile(samples: Buffer, comment: string): Buffer {
  const format = Buffer.alloc(16);
  format.writeUInt16LE(1, 0);
  format.writeUInt16LE(1, 2);
  format.writeUInt32LE(SAMPLE_RATE, 4);
  format.writeUInt32LE(SAMPLE_RATE * BYTES, 8);
  format.writeUInt16LE(BYTES, 12);
  format.writeUInt16LE(BYTES * 8, 14);
  const info = Buffer.concat([Buffer.from('INFO'), chunk('ICMT', Buffer.from(`${comment}\0`))]);
  const body = Buffer.concat([
    Buffer.from('WAVE'),
    chunk('fmt ', format),
    chunk('LIST', info),
    chunk('data', samples),
  ]);
  return chunk('RIFF', body);
}

function chunk(id: string, data: Buffer): Buffer {
  const head = Buffer.alloc(8);
  head.write(id, 'latin1');
  head.writeUInt32LE(data.length, 4);
  // Chunks begin on even bytes.
  return Buffer.concat([head, data, Buffer.alloc(data.length % 2)]);
}

/** What a WAV file says of itself; undefined for anything else. */
export function readWav(bytes: Uint8Array): WavFacts | undefined {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (
    file.length < 44 ||
    file.toString('latin1', 0, 4) !== 'RIFF' ||
    file.toString('latin1', 8, 12) !== 'WAVE'
  )
    return undefined;
  let bytesPerSecond = 0;
  let dataBytes = 0;
  let comment = '';
  for (let at = 12; at + 8 <= file.length; ) {
    const id = file.toString('latin1', at, at + 4);
    const length = Math.min(file.readUInt32LE(at + 4), file.length - at - 8);
    const data = file.subarray(at + 8, at + 8 + length);
    if (id === 'fmt ' && length >= 16) bytesPerSecond = data.readUInt32LE(8);
    if (id === 'data') dataBytes = length;
    if (id === 'LIST' && data.toString('latin1', 0, 8) === 'INFOICMT' && length > 12) {
      const end = Math.min(12 + data.readUInt32LE(8), length, 12 + MOST_COMMENT);
      comment = data.toString('utf8', 12, end).replace(/\0.*$/s, '');
    }
    at += 8 + length + (length % 2);
  }
  return { seconds: bytesPerSecond === 0 ? 0 : dataBytes / bytesPerSecond, comment };
}
