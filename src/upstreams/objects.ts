// Whose a provider's stored object is. All projects share the provider's one account, so keygate notes which project
// made an object, and looks it up by (project, id), never by id alone.
//
// Notes are written behind the reply in small groups; the newest are also in memory, so that an id can be used the
// moment it is known. A crash can lose the notes of the last WRITE_MS: such an object answers 404 and harms nobody.

import { type ApiError, unavailable } from '../platform/errors.ts';
import type { Store } from '../store/store.ts';

const KEPT = 50_000;
const WRITE_MS = 25;
const GROUP = 500;

type Found = (error: ApiError | null, provider: string | null) => void;

interface Note {
  readonly project_id: string;
  readonly id: string;
  readonly kind: string;
  readonly provider: string;
  readonly created_at: number;
}

export class OwnedObjects {
  readonly #store: Pick<Store, 'db'>;
  readonly #complain: (error: unknown) => void;
  readonly #recent = new Map<string, string>();
  #notes: Note[] = [];
  #timer: NodeJS.Timeout | null = null;
  #writing: Promise<void> = Promise.resolve();

  constructor(store: Pick<Store, 'db'>, complain: (error: unknown) => void) {
    this.#store = store;
    this.#complain = complain;
  }

  remember(projectId: string, id: string, kind: string, provider: string, atMs: number): void {
    if (id.length > 256 || this.#notes.length >= KEPT) return;
    this.#keep(`${projectId} ${id}`, provider);
    this.#notes.push({ project_id: projectId, id, kind, provider, created_at: atMs });
    this.#timer ??= setTimeout(() => void this.flush(), WRITE_MS);
  }

  /** Gives the name of the provider that keeps it, or null if this project owns no such object. */
  find(projectId: string, id: string, found: Found): void {
    const recent = this.#recent.get(`${projectId} ${id}`);
    if (recent !== undefined) return found(null, recent);
    this.#store.db
      .selectFrom('owned_objects')
      .select('provider')
      .where('project_id', '=', projectId)
      .where('id', '=', id)
      .executeTakeFirst()
      .then(
        (row) => found(null, row?.provider ?? null),
        (error: unknown) => {
          this.#complain(error);
          found(unavailable('The store does not answer at the moment. Please try again.'), null);
        },
      );
  }

  /** Resolves when every note so far is in the store. */
  flush(): Promise<void> {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    const notes = this.#notes;
    this.#notes = [];
    this.#writing = this.#writing.then(() => this.#write(notes));
    return this.#writing;
  }

  async #write(notes: readonly Note[]): Promise<void> {
    for (let at = 0; at < notes.length; at += GROUP) {
      try {
        await this.#store.db
          .insertInto('owned_objects')
          .values(notes.slice(at, at + GROUP))
          .onConflict((conflict) => conflict.columns(['project_id', 'id']).doNothing())
          .execute();
      } catch (error) {
        this.#complain(error);
      }
    }
  }

  #keep(key: string, provider: string): void {
    // Oldest first out: a Map keeps the order of insertion.
    if (this.#recent.size >= KEPT) {
      const oldest = this.#recent.keys().next();
      if (oldest.done !== true) this.#recent.delete(oldest.value);
    }
    this.#recent.set(key, provider);
  }
}
