// A call's exchange with a provider, as the steps after `forward` see it.

import type { ReplyHead } from './reply-head.ts';

/** Takes the provider's answer as it comes: the relay. */
export interface Receiver {
  /**
   * @param chunk what is kept of it is copied: its memory is the connection's
   * @returns whether more may come now
   */
  data(chunk: Buffer): boolean;
  end(): void;
  /** The answer broke off. */
  cut(error: Error): void;
}

export interface Exchange {
  /** The head of the answer, once it is there. */
  readonly reply: ReplyHead | null;
  receiver: Receiver | null;
  /** The provider may send more: the caller has read what there was. */
  more(): void;
}
