// What recurs in the events of a segment stands in it once: a dictionary gives it a number, the same one within the
// segment, and makes the text of the list that those numbers point into.
//
// What was seen is remembered from one segment to the next, because it is made of long strings and comes again: then
// an event costs one look-up by its most telling name and comparisons with what has that name. A bounded number of it.

/** What is remembered at most; beyond, all is forgotten, and comes to stand twice in the segment under way. */
const REMEMBERED = 4096;

/** How a dictionary tells apart what it numbers. */
export interface Entries<T> {
  /** Few others have it. */
  name(value: T): string;
  isSame(one: T, other: T): boolean;
  /** A copy of what counts. */
  copy(value: T): T;
  /** As it stands in the list. */
  fields(value: T): readonly unknown[];
}

interface Entry<T> {
  readonly value: T;
  readonly json: string;
  /** Of the last segment that it stands in. */
  segment: number;
  number: number;
  /** Another of the same name. */
  readonly next: Entry<T> | undefined;
}

export class Dictionary<T> {
  readonly #entries: Entries<T>;
  readonly #known = new Map<string, Entry<T>>();
  #count = 0;
  #segment = 0;
  #list: string[] = [];

  constructor(entries: Entries<T>) {
    this.#entries = entries;
  }

  /** Another segment begins. */
  begin(): void {
    this.#segment++;
    this.#list = [];
  }

  numberOf(value: T): number {
    const name = this.#entries.name(value);
    let entry = this.#known.get(name);
    while (entry !== undefined && !this.#entries.isSame(entry.value, value)) entry = entry.next;
    entry ??= this.#learn(name, value);
    if (entry.segment !== this.#segment) {
      entry.segment = this.#segment;
      entry.number = this.#list.push(entry.json) - 1;
    }
    return entry.number;
  }

  /** JSON of the segment's list. */
  json(): string {
    return `[${this.#list.join()}]`;
  }

  #learn(name: string, value: T): Entry<T> {
    if (this.#count >= REMEMBERED) {
      this.#known.clear();
      this.#count = 0;
    }
    this.#count++;
    const entry: Entry<T> = {
      value: this.#entries.copy(value),
      json: JSON.stringify(this.#entries.fields(value)),
      segment: -1,
      number: 0,
      next: this.#known.get(name),
    };
    this.#known.set(name, entry);
    return entry;
  }
}
