// Sealing and opening for the rest of keygate: bytes of up to 16 MB at once, files as streams. What belongs to a
// project that has an external key is wrapped with the key of that project's content, everything else with the root
// key; envelope.ts says how.

import { unavailable } from '../platform/errors.ts';
import {
  associated,
  decryptBody,
  encryptBody,
  newDataKey,
  openDataKey,
  readHead,
  rewrapDataKey,
  SealError,
} from './envelope.ts';
import { type Place, PURPOSES } from './purpose.ts';
import type { WrappingKey } from './root.ts';
import { OpeningStream, SealingStream } from './stream.ts';

/** What is sealed in one piece, in bytes. Larger things are streams. */
export const SEALED_MAX = 16 * 1024 * 1024;

export interface RootKeys {
  /** The key that seals now. */
  sealing(): Promise<WrappingKey>;
  /** The key of this id, older ones too. */
  opening(id: Buffer): Promise<WrappingKey>;
}

/** The keys of projects' content, which external keys wrap. */
export interface ContentKeys {
  /** Null: the project has no external key. Throws the refusal while the project's key is not to be had. */
  sealing(place: Place): Promise<WrappingKey | null>;
  opening(place: Place, id: Buffer): Promise<WrappingKey>;
}

const NO_CONTENT_KEYS: ContentKeys = {
  sealing: async () => null,
  opening: async () => {
    throw new SealError('unknown_key', 'This was sealed with the key of a project that is not here.');
  },
};

/** A file's key, in its envelope (kept in the file's row), and the stream that seals its bytes. */
export interface SealedFile {
  readonly envelope: Buffer;
  readonly stream: SealingStream;
}

export interface SealsOptions {
  readonly roots: RootKeys;
  readonly content?: ContentKeys;
  /** Told of every failure to open, which is a fault or an attack: the place and the reason, never the bytes. */
  readonly alarm: (place: Place, error: SealError) => void;
}

export class Seals {
  readonly #roots: RootKeys;
  readonly #content: ContentKeys;
  readonly #alarm: SealsOptions['alarm'];
  /** Since the start: bytes that did not open. */
  failures = 0;

  constructor(options: SealsOptions) {
    this.#roots = options.roots;
    this.#content = options.content ?? NO_CONTENT_KEYS;
    this.#alarm = options.alarm;
  }

  async seal(place: Place, plain: Uint8Array | string): Promise<Buffer> {
    const bytes = typeof plain === 'string' ? Buffer.from(plain) : plain;
    if (bytes.length > SEALED_MAX)
      throw new Error(`too much to be sealed in one piece: ${bytes.length} bytes`);
    const { dataKey, envelope } = newDataKey(check(place), await this.#sealingKey(place));
    const sealed = Buffer.concat([envelope, encryptBody(place, dataKey, bytes)]);
    dataKey.fill(0);
    return sealed;
  }

  /** @throws ApiError 503 when they do not open (and the alarm is raised), or why the project's key is not to be had */
  async open(place: Place, sealed: Uint8Array): Promise<Buffer> {
    return await this.#guarded(place, async () => {
      const dataKey = openDataKey(check(place), await this.#openingKey(place, sealed), sealed);
      const plain = decryptBody(place, dataKey, sealed);
      dataKey.fill(0);
      return plain;
    });
  }

  /** For a file: keep `envelope` in its row and send its bytes through `stream`, once. */
  async sealFile(place: Place): Promise<SealedFile> {
    const { dataKey, envelope } = newDataKey(check(place), await this.#sealingKey(place));
    return { envelope, stream: new SealingStream(dataKey, associated(place, FILE)) };
  }

  /** The stream that opens a file's bytes. It ends with an error when they were altered or cut. */
  async openFile(place: Place, envelope: Uint8Array): Promise<OpeningStream> {
    return await this.#guarded(place, async () => {
      const dataKey = openDataKey(check(place), await this.#openingKey(place, envelope), envelope);
      return new OpeningStream(dataKey, associated(place, FILE));
    });
  }

  /**
   * The same bytes under the key that seals now, or null if they are already. What is encrypted is not touched, so
   * this works for whole records and for envelopes of files alike.
   */
  async rewrap(place: Place, sealed: Uint8Array): Promise<Buffer | null> {
    return await this.#guarded(place, async () => {
      const head = readHead(sealed);
      const to = await this.#sealingKey(place);
      const { version } = PURPOSES[place.purpose];
      if (head.kind === to.kind && head.keyId.equals(to.id) && head.version === version) return null;
      return rewrapDataKey(place, await this.#openingKey(place, sealed), to, sealed);
    });
  }

  async #sealingKey(place: Place): Promise<WrappingKey> {
    const own = PURPOSES[place.purpose].content ? await this.#content.sealing(place) : null;
    return own ?? (await this.#roots.sealing());
  }

  async #openingKey(place: Place, sealed: Uint8Array): Promise<WrappingKey> {
    const { kind, keyId } = readHead(sealed);
    return kind === 'root' ? await this.#roots.opening(keyId) : await this.#content.opening(place, keyId);
  }

  async #guarded<T>(place: Place, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof SealError)) throw error;
      this.failures += 1;
      this.#alarm(place, error);
      throw unavailable('Something that this server keeps sealed cannot be opened: its log says why.');
    }
  }
}

const FILE = Buffer.from('file');

function check(place: Place): Place {
  if (place.id === '' || place.id.length > 512)
    throw new Error('a sealed record needs an id of 1 to 512 characters');
  return place;
}
