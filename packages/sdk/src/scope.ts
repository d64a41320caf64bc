import { CloudosError, messageOf } from './errors.ts';

interface Held {
  label: string;
  close: () => void | Promise<void>;
  deadlineMs: number;
}

/** How long one resource may take to close unless it says otherwise. */
export const closeDeadlineMs = 10_000;

/**
 * Owns what was opened, and closes it: last in, first out, one after another, once.
 * Everything with a lifetime (a subscription, a timer, a child process, a file) is opened through a scope.
 */
export class Scope {
  readonly label: string;
  #held: Held[] = [];
  #closing: Promise<void> | undefined;
  #leaveParent: () => void = () => {};

  constructor(label: string) {
    this.label = label;
  }

  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /**
   * Opens a resource and registers how to close it. If the scope was closed while opening, the resource is closed at
   * once and the call rejects.
   * @param deadlineMs how long closing may take before the scope reports the label and moves on
   */
  async acquire<T>(
    label: string,
    open: () => T | Promise<T>,
    close: (resource: T) => void | Promise<void>,
    deadlineMs: number = closeDeadlineMs,
  ): Promise<T> {
    this.#assertOpen(label);
    const resource = await open();
    if (this.closed) {
      await close(resource);
      this.#assertOpen(label);
    }
    this.#held.push({ label, close: () => close(resource), deadlineMs });
    return resource;
  }

  /** Registers something to be undone at close. Returns a function that undoes it earlier. */
  defer(label: string, close: () => void | Promise<void>, deadlineMs: number = closeDeadlineMs): () => Promise<void> {
    this.#assertOpen(label);
    const held: Held = { label, close, deadlineMs };
    this.#held.push(held);
    return async () => {
      const index = this.#held.indexOf(held);
      if (index < 0) return;
      this.#held.splice(index, 1);
      await close();
    };
  }

  /** A scope that is closed with this one, and may be closed before it. */
  child(label: string): Scope {
    const child = new Scope(`${this.label}/${label}`);
    this.#assertOpen(label);
    const held: Held = { label, close: () => child.close(), deadlineMs: closeDeadlineMs * 3 };
    this.#held.push(held);
    child.#leaveParent = () => {
      this.#held = this.#held.filter((other) => other !== held);
    };
    return child;
  }

  /** What is open now, in the order of opening. For leak tests and diagnostics. */
  open(): string[] {
    return this.#held.map((held) => held.label);
  }

  /**
   * Closes everything. Calling it again returns the same promise.
   * @throws AggregateError with every failure; a resource past its deadline is a CloudosError SCOPE_CLOSE_TIMEOUT
   */
  close(): Promise<void> {
    this.#closing ??= this.#closeAll();
    return this.#closing;
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (let held = this.#held.pop(); held; held = this.#held.pop()) {
      try {
        await withinDeadline(this.label, held);
      } catch (error) {
        failures.push(error);
      }
    }
    this.#leaveParent();
    if (failures.length > 0) {
      throw new AggregateError(failures, `closing ${this.label}: ${failures.map(messageOf).join('; ')}`);
    }
  }

  #assertOpen(label: string): void {
    if (this.closed) throw new Error(`scope ${this.label} is closed, cannot open ${label}`);
  }
}

async function withinDeadline(scope: string, held: Held): Promise<void> {
  const closing = held.close();
  if (!closing) return;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new CloudosError('SCOPE_CLOSE_TIMEOUT', `${scope}: ${held.label} did not close in ${held.deadlineMs} ms`),
        ),
      held.deadlineMs,
    );
  });
  try {
    await Promise.race([closing, late]);
  } finally {
    clearTimeout(timer);
  }
}
