import { type Clock, type Logger, messageOf } from '@cloudos/sdk';
import type Docker from 'dockerode';
import { Subject } from 'rxjs';
import { labels } from './container-view.ts';

/** The most of a line of events that is kept; the engine's are some hundred bytes. */
const lineMaxBytes = 1024 * 1024;

/**
 * Listens to the engine's events about the containers of one owner. When the connection is lost, or the engine with it,
 * it comes back to it; what happened meanwhile is for the subscriber of `connected` to find out.
 */
export class EngineWatch {
  readonly #docker: Docker;
  readonly #owner: string;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #retryMs: number;
  readonly #wake: () => Promise<void>;
  readonly #ended = new Subject<string>();
  readonly #connected = new Subject<boolean>();
  /** A container has ended: its instance. */
  readonly ended = this.#ended.asObservable();
  /** The engine listens to us from now on, or does not any more. */
  readonly connected = this.#connected.asObservable();
  #stop = new AbortController();
  #cancelRetry: () => void = () => {};
  #isConnected = false;

  constructor(parts: {
    docker: Docker;
    owner: string;
    clock: Clock;
    logger: Logger;
    retryMs: number;
    /** Called before each try to connect: starts an engine that is ours to start. */
    wake: () => Promise<void>;
  }) {
    this.#docker = parts.docker;
    this.#owner = parts.owner;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#retryMs = parts.retryMs;
    this.#wake = parts.wake;
  }

  /** Resolves when the engine was asked once, whatever it answered. */
  async begin(): Promise<void> {
    this.end();
    this.#stop = new AbortController();
    await this.#listen(this.#stop.signal);
  }

  end(): void {
    this.#stop.abort();
    this.#cancelRetry();
    this.#isConnected = false;
  }

  async #listen(signal: AbortSignal): Promise<void> {
    try {
      await this.#wake();
      if (signal.aborted) return;
      const filters = { type: ['container' as const], event: ['die'], label: [`${labels.owner}=${this.#owner}`] };
      const events = await this.#docker.getEvents({ filters, abortSignal: signal });
      if (signal.aborted) return;
      this.#tell(true);
      void this.#read(events, signal);
    } catch (error) {
      this.#lost(signal, error);
    }
  }

  async #read(events: NodeJS.ReadableStream, signal: AbortSignal): Promise<void> {
    let rest = '';
    try {
      for await (const data of events) {
        const lines = (rest + String(data)).split('\n');
        rest = (lines.pop() ?? '').slice(-lineMaxBytes);
        for (const line of lines) this.#take(line);
      }
      this.#lost(signal, new Error('the engine has closed the connection'));
    } catch (error) {
      this.#lost(signal, error);
    }
  }

  #take(line: string): void {
    if (line.trim() === '') return;
    const { Actor: actor } = JSON.parse(line) as { Actor?: { Attributes?: Record<string, string> } };
    const instance = actor?.Attributes?.[labels.instance];
    if (instance !== undefined) this.#ended.next(instance);
  }

  #lost(signal: AbortSignal, error: unknown): void {
    if (signal.aborted) return;
    if (this.#isConnected) this.#logger.warn(`the Docker Engine is away: ${messageOf(error)}`);
    this.#tell(false);
    this.#cancelRetry = this.#clock.after(this.#retryMs, () => void this.#listen(signal));
  }

  #tell(connected: boolean): void {
    if (this.#isConnected === connected) return;
    this.#isConnected = connected;
    this.#connected.next(connected);
  }
}
