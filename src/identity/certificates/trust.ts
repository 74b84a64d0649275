// Which client certificates an organization or a project accepts: those of the authorities that are active there. What
// was found out about a chain is remembered for as long as the certificate in it that expires first is valid, at most an
// hour, and forgotten when what is active changes, because then there is another Trust.

import { X509Certificate } from 'node:crypto';
import type { ClientCertificate } from './client-certificate.ts';

const REMEMBERED_MAX = 2_000;
const REMEMBERED_MS = 3_600_000;

interface Found {
  readonly accepted: boolean;
  readonly until: number;
}

/** What is trusted by these active certificates: what was before, where that is the same; null for none. */
export function trustOf(
  certificates: readonly { readonly id: string; readonly content: string }[] | undefined,
  before: Trust | null,
): Trust | null {
  if (certificates === undefined || certificates.length === 0) return null;
  const same =
    before?.ids.length === certificates.length && certificates.every(({ id }, at) => before.ids[at] === id);
  return same ? before : new Trust(certificates);
}

export class Trust {
  /** Ids of the certificates. */
  readonly ids: readonly string[];
  readonly #anchors: readonly { readonly der: Buffer }[];
  readonly #found = new Map<string, Found>();

  constructor(certificates: readonly { readonly id: string; readonly content: string }[]) {
    this.ids = certificates.map(({ id }) => id);
    this.#anchors = certificates.map(({ content }) => ({ der: new X509Certificate(content).raw }));
  }

  /** At once for a chain that is known; else when it was looked at. */
  accepts(presented: ClientCertificate, nowMs: number): boolean | Promise<boolean> {
    const known = this.#found.get(presented.digest);
    if (known !== undefined && nowMs < known.until) return known.accepted;
    return this.#look(presented, nowMs);
  }

  async #look(presented: ClientCertificate, nowMs: number): Promise<boolean> {
    // What reads certificates is large, and loaded where somebody presents one.
    const { leadsTo } = await import('./path.ts');
    const accepted = await leadsTo(presented.chain, this.#anchors, nowMs);
    if (this.#found.size >= REMEMBERED_MAX) this.#found.clear();
    const until = Math.min(
      nowMs + REMEMBERED_MS,
      accepted ? this.#firstEnd(presented, nowMs) : Number.POSITIVE_INFINITY,
    );
    this.#found.set(presented.digest, { accepted, until });
    return accepted;
  }

  /** When the first certificate that may have had a part in it ends. */
  #firstEnd({ chain }: ClientCertificate, nowMs: number): number {
    const ends = [...chain, ...this.#anchors.map(({ der }) => der)].map((der) =>
      new X509Certificate(der).validToDate.getTime(),
    );
    return Math.min(...ends.filter((end) => end > nowMs));
  }
}
