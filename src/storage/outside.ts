// Pieces of files in customers' buckets. A piece is sealed as always; its body becomes an object, and the row in the
// store keeps the envelope and where the object is. So a new root key wraps the row again and leaves the object alone,
// and a bucket without keygate, or keygate's store without the bucket, tells nothing.
//
// A project with a validated storage has its content there and nowhere else: when the bucket does not take a piece, the
// call fails, and nothing falls back to the store.

import { CloudError } from '../clouds/error.ts';
import type { Clouds } from '../clouds/open.ts';
import { ApiError } from '../platform/errors.ts';
import type { OrganizationId, ProjectId } from '../platform/ids.ts';
import { ENVELOPE_BYTES } from '../secrets/envelope.ts';
import type { Store } from '../store/store.ts';
import { type Bucket, bucketAt } from './buckets.ts';
import { bucketOf, type ExternalStorage } from './model.ts';
import { setStorageStatus, storageOfProject } from './store.ts';

const MARK = Buffer.from('KGX1', 'latin1');
const POINTER_MAX = 2048;
/** So much of a row says whether its body is elsewhere, and where. */
export const ROW_HEAD = ENVELOPE_BYTES + POINTER_MAX + 1;
/** Projects whose storage is known here; the others are looked up. */
const KNOWN_MAX = 10_000;

export interface PieceOwner {
  readonly organizationId: OrganizationId;
  readonly projectId: ProjectId;
  readonly id: string;
}

interface Pointer {
  readonly organization: string;
  readonly project: string;
  readonly bucket: string;
  readonly key: string;
}

/** Where bodies of pieces may be besides their rows. */
export type Outside = Pick<OutsideContents, 'put' | 'get' | 'remove'>;

/** Nowhere: every piece is in its row. */
export const INSIDE: Outside = {
  put: async (_owner, _piece, sealed) => sealed,
  get: async (row) => row,
  remove: async () => {},
};

export class OutsideContents {
  readonly #store: Store;
  readonly #clouds: Clouds;
  readonly #now: () => number;
  readonly #onError: (error: unknown) => void;
  readonly #known = new Map<string, Promise<readonly ExternalStorage[]>>();

  constructor(store: Store, clouds: Clouds, now: () => number, onError: (error: unknown) => void) {
    this.#store = store;
    this.#clouds = clouds;
    this.#now = now;
    this.#onError = onError;
  }

  /** Learns of changes, until the returned function is called. */
  async follow(): Promise<() => Promise<void>> {
    return this.#store.follow(await this.#store.lastChange(), (changes) => {
      for (const { kind, objectId } of changes) if (kind === 'external_storage') this.#known.delete(objectId);
    });
  }

  /** What the row of a sealed piece is to hold: the piece itself, or where its body went. */
  async put(owner: PieceOwner, piece: number, sealed: Buffer): Promise<Buffer> {
    const storage = (await this.#of(owner)).find(
      ({ status }) => status === 'validated' || status === 'degraded',
    );
    if (storage === undefined) return sealed;
    const pointer: Pointer = {
      organization: owner.organizationId,
      project: owner.projectId,
      bucket: bucketOf(storage.location),
      key: `keygate/${owner.organizationId}/${owner.projectId}/${owner.id}/${piece}`,
    };
    await this.#use(storage, (bucket) => bucket.put(pointer.key, sealed.subarray(ENVELOPE_BYTES)));
    return Buffer.concat([sealed.subarray(0, ENVELOPE_BYTES), MARK, Buffer.from(JSON.stringify(pointer))]);
  }

  /** The sealed piece that a row stands for. */
  async get(row: Uint8Array): Promise<Uint8Array> {
    const pointer = pointerIn(row);
    if (pointer === null) return row;
    const storage = await this.#leadingTo(pointer);
    if (storage === undefined) {
      throw new ApiError(503, 'This content is in an external storage that is not connected any more.', {
        type: 'service_unavailable_error',
        code: 'external_storage_disconnected',
      });
    }
    const body = await this.#use(storage, (bucket) => bucket.get(pointer.key));
    return Buffer.concat([row.subarray(0, ENVELOPE_BYTES), body]);
  }

  /** Before a row is deleted: its object goes too. A storage that is not connected any more is left as it is. */
  async remove(row: Uint8Array): Promise<void> {
    const pointer = pointerIn(row);
    if (pointer === null) return;
    const storage = await this.#leadingTo(pointer);
    if (storage !== undefined) await this.#use(storage, (bucket) => bucket.remove(pointer.key));
  }

  async #leadingTo(pointer: Pointer): Promise<ExternalStorage | undefined> {
    const all = await this.#of({
      // The row was written by `put`.
      organizationId: pointer.organization as OrganizationId,
      projectId: pointer.project as ProjectId,
    });
    return all.find(({ location }) => bucketOf(location) === pointer.bucket);
  }

  async #of({ organizationId, projectId }: Omit<PieceOwner, 'id'>): Promise<readonly ExternalStorage[]> {
    let known = this.#known.get(projectId);
    if (known === undefined) {
      if (this.#known.size >= KNOWN_MAX) this.#known.clear();
      known = storageOfProject(this.#store.db, organizationId, projectId);
      this.#known.set(projectId, known);
      known.catch(() => this.#known.delete(projectId));
    }
    return await known;
  }

  async #use<T>(storage: ExternalStorage, work: (bucket: Bucket) => Promise<T>): Promise<T> {
    try {
      const done = await work(bucketAt(storage, this.#clouds));
      if (storage.status === 'degraded') this.#note(storage, 'validated');
      return done;
    } catch (error) {
      if (!(error instanceof CloudError)) throw error;
      this.#note(storage, 'degraded');
      throw storageUnavailable(error);
    }
  }

  #note(storage: ExternalStorage, status: 'validated' | 'degraded'): void {
    setStorageStatus(this.#store, storage, { status }, this.#now()).catch(this.#onError);
  }
}

export function storageUnavailable(error: CloudError): ApiError {
  return new ApiError(503, `The project's external storage cannot be used at the moment: ${error.message}`, {
    type: 'service_unavailable_error',
    code: 'external_storage_unavailable',
  });
}

function pointerIn(row: Uint8Array): Pointer | null {
  const rest = Buffer.from(row.buffer, row.byteOffset, row.byteLength).subarray(ENVELOPE_BYTES);
  if (rest.length > POINTER_MAX || !rest.subarray(0, MARK.length).equals(MARK)) return null;
  try {
    const { organization, project, bucket, key } = JSON.parse(rest.toString('utf8', MARK.length)) as Pointer;
    return { organization, project, bucket, key };
  } catch {
    return null;
  }
}
