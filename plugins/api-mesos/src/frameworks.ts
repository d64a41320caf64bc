import type { FrameworkStream } from './framework-stream.ts';
import type { OfferData } from './policy-events.ts';

/** What is known of one framework. */
export class KnownFramework {
  readonly id: string;
  name = '';
  capabilities: ReadonlySet<string> = new Set();
  /** The resource manager counts it as connected. */
  active = false;
  stream: FrameworkStream | undefined;
  /** Offers without an answer: which agent and role each is of. */
  readonly offers = new Map<string, Pick<OfferData, 'node' | 'role'>>();
  /** The end of the last call: those of one framework are carried out one after another. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(id: string) {
    this.id = id;
  }

  get connected(): boolean {
    return this.stream?.open === true;
  }

  inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(work);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}
