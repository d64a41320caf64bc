import type Docker from 'dockerode';
import { Subject } from 'rxjs';
import { labels } from './container-view.ts';

/** The most of a line of events that is kept; the engine's are some hundred bytes. */
const lineMaxBytes = 1024 * 1024;

/** What the engine tells of the containers of one owner. */
export class EngineEvents {
  readonly #docker: Docker;
  readonly #owner: string;
  readonly #ended = new Subject<string>();
  /** A container has ended: its instance. */
  readonly ended = this.#ended.asObservable();

  constructor(docker: Docker, owner: string) {
    this.#docker = docker;
    this.#owner = owner;
  }

  /** Resolves when the engine tells what happens from now on. */
  async connect(signal: AbortSignal, lost: (error: unknown) => void): Promise<void> {
    const filters = { type: ['container' as const], event: ['die'], label: [`${labels.owner}=${this.#owner}`] };
    const events = await this.#docker.getEvents({ filters, abortSignal: signal });
    this.#read(events).then(() => lost(new Error('it has closed the connection')), lost);
  }

  async #read(events: NodeJS.ReadableStream): Promise<void> {
    let rest = '';
    for await (const data of events) {
      const lines = (rest + String(data)).split('\n');
      rest = (lines.pop() ?? '').slice(-lineMaxBytes);
      for (const line of lines) this.#take(line);
    }
  }

  #take(line: string): void {
    if (line.trim() === '') return;
    const { Actor: actor } = JSON.parse(line) as { Actor?: { Attributes?: Record<string, string> } };
    const instance = actor?.Attributes?.[labels.instance];
    if (instance !== undefined) this.#ended.next(instance);
  }
}
