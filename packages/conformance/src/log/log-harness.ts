import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type {
  EventLog,
  GlobalRange,
  LogProvider,
  NewEvent,
  PluginDefinition,
  RecordedEvent,
  StreamRange,
} from '@cloudos/sdk';
import { pluginContext, type TestPluginContext } from '../plugin-context.ts';

export interface LogConformanceOptions<Config> {
  readonly config: Config;
  /** Whether events survive closing and opening again with the same data directory. */
  readonly durable: boolean;
  /** How many seeded interleavings of appends and subscriptions are run (default 20). */
  readonly seeds?: number;
}

/** A log under test, with what it takes to open it again. */
export interface OpenLog {
  readonly log: LogProvider;
  readonly context: TestPluginContext;
  /** Closes the log. */
  close(): Promise<void>;
  /** Closes it and opens it over the same data. */
  reopen(): Promise<LogProvider>;
}

/** Opens logs and cleans up after them. */
export class LogHarness<Config> {
  readonly plugin: PluginDefinition<'log', Config>;
  readonly options: LogConformanceOptions<Config>;
  #opened: TestPluginContext[] = [];
  #directories: string[] = [];

  constructor(plugin: PluginDefinition<'log', Config>, options: LogConformanceOptions<Config>) {
    this.plugin = plugin;
    this.options = options;
  }

  async open(): Promise<OpenLog> {
    const dataDir = await mkdtemp(join(tmpdir(), 'cloudos-log-'));
    this.#directories.push(dataDir);
    let context = await this.#context(dataDir);
    const first = context;
    const create = () => this.plugin.create(context, this.options.config);
    return {
      log: await create(),
      context: first,
      close: () => context.scope.close(),
      reopen: async () => {
        await context.scope.close();
        context = await this.#context(dataDir);
        return create();
      },
    };
  }

  async closeAll(): Promise<void> {
    for (const context of this.#opened.splice(0)) await context.scope.close();
    for (const directory of this.#directories.splice(0)) await rm(directory, { recursive: true, force: true });
  }

  async #context(dataDir: string): Promise<TestPluginContext> {
    const context = await pluginContext({ dataDir });
    this.#opened.push(context);
    return context;
  }
}

/** A private event with a number in it. */
export function numbered(n: number, options: Omit<NewEvent, 'type' | 'data'> = {}): NewEvent {
  return { type: 'x-conformance-Numbered', data: { n }, ...options };
}

export function numbersOf(events: readonly RecordedEvent[]): number[] {
  return events.map((event) => (event.data as { n: number }).n);
}

export async function readAll(
  log: Pick<EventLog, 'read'>,
  range: StreamRange | GlobalRange = {},
): Promise<RecordedEvent[]> {
  const events: RecordedEvent[] = [];
  for await (const batch of log.read(range)) events.push(...batch);
  return events;
}

/** A subscription that collects, and waits for a number of events. */
export class Collector {
  readonly events: RecordedEvent[] = [];
  readonly batches: number[] = [];
  completed = false;
  error: unknown;
  #waiting: { count: number; resolve: () => void }[] = [];
  #subscription: { unsubscribe(): void };

  constructor(observable: ReturnType<EventLog['subscribe']>) {
    this.#subscription = observable.subscribe({
      next: (batch) => {
        this.batches.push(batch.length);
        this.events.push(...batch);
        this.#wake();
      },
      error: (error) => {
        this.error = error;
        this.#wake();
      },
      complete: () => {
        this.completed = true;
        this.#wake();
      },
    });
  }

  /** Resolves with at least that many events, or when the subscription has ended. */
  async reaches(count: number): Promise<readonly RecordedEvent[]> {
    if (this.events.length < count && !this.#ended) {
      await new Promise<void>((resolve) => this.#waiting.push({ count, resolve }));
    }
    return this.events;
  }

  ended(): Promise<unknown> {
    return this.reaches(Number.POSITIVE_INFINITY);
  }

  stop(): void {
    this.#subscription.unsubscribe();
  }

  get #ended(): boolean {
    return this.completed || this.error !== undefined;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = waiting.filter((waiter) => !this.#ended && waiter.count > this.events.length);
    for (const waiter of waiting) if (this.#ended || waiter.count <= this.events.length) waiter.resolve();
  }
}

/** Numbers from 0 below 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Lets everything that is due happen, a number of times. */
export async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
