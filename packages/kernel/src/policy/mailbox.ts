import type { Backpressure, RecordedEvent } from '@cloudos/sdk';

/** Events that a mailbox holds before it holds the log back. */
const mailMax = 16_384;

/** Gathers what a policy has yet to look at. One reader. Bounded through the back-pressure of the subscription. */
export class Mailbox implements Backpressure {
  #events: RecordedEvent[] = [];
  #rung = false;
  #closed = false;
  #arrived: () => void = () => {};
  #room: () => void = () => {};

  get closed(): boolean {
    return this.#closed;
  }

  put(events: readonly RecordedEvent[]): void {
    if (this.#events.length === 0) this.#events = events.slice();
    else for (const event of events) this.#events.push(event);
    this.#arrived();
  }

  /** Wakes the reader though nothing has arrived. */
  ring(): void {
    this.#rung = true;
    this.#arrived();
  }

  close(): void {
    this.#closed = true;
    this.#arrived();
    this.#room();
  }

  /** Resolves when the subscription may deliver more. */
  ready(): Promise<void> {
    if (this.#events.length < mailMax || this.#closed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#room = resolve;
    });
  }

  /** Everything that has arrived; waits until something has, or it was rung or closed. */
  async take(): Promise<readonly RecordedEvent[]> {
    if (this.#events.length === 0 && !this.#rung && !this.#closed) {
      await new Promise<void>((resolve) => {
        this.#arrived = resolve;
      });
    }
    const taken = this.#events;
    this.#events = [];
    this.#rung = false;
    this.#room();
    return taken;
  }
}
