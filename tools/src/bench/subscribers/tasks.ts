/** How far the slowest subscriber is, told by the process of the subscribers. */
export class Progress {
  #taken = 0;
  #waiting: { readonly limit: number; readonly go: () => void } | undefined;

  update(taken: number): void {
    this.#taken = taken;
    if (!this.#waiting || taken < this.#waiting.limit) return;
    this.#waiting.go();
    this.#waiting = undefined;
  }

  reset(): void {
    this.#taken = 0;
  }

  /** Resolves when no more than that many of what was sent is still to be taken. */
  below(sent: number, window: number): Promise<void> {
    if (sent - this.#taken < window) return Promise.resolve();
    return new Promise((go) => {
      this.#waiting = { limit: sent - window + 1, go };
    });
  }
}

/** What a task takes and gives crosses a process border as JSON: both ends are of this benchmark. */
type Task = (given: never, progress: Progress) => Promise<unknown>;
export type ServerTasks = Readonly<Record<string, Task>>;

/** As large as an event of the standard subprotocol. */
export const messageBytes = 520;

/** Publish that many events at full rate, with no more than `window` of them still to be taken. */
export interface Publishing {
  readonly events: number;
  readonly window: number;
}

/** Publish that many events at a steady rate. */
export interface Pacing {
  readonly perSecond: number;
  readonly events: number;
}

interface Request {
  readonly id: number;
  readonly task: string;
  readonly given: unknown;
}

/** Answers tasks of the parent process, and takes the progress of subscribers that it passes on. */
export function serveTasks(tasks: ServerTasks): void {
  const progress = new Progress();
  process.on('message', (message: Request | { readonly taken: number }) => {
    if ('taken' in message) return progress.update(message.taken);
    progress.reset();
    const task = tasks[message.task];
    if (!task) throw new Error(`no task ${message.task}`);
    task(message.given as never, progress).then(
      (result) => process.send?.({ id: message.id, result }),
      (error: unknown) => process.send?.({ id: message.id, error: String((error as Error).stack ?? error) }),
    );
  });
  process.on('disconnect', () => process.exit(0));
  process.send?.({ ready: true });
}
