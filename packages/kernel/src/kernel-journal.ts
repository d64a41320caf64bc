import type { Activation, SlotFailure } from '@cloudos/plugin-bus';
import {
  type EventData,
  event,
  type LogProvider,
  messageOf,
  type NewEvent,
  type SharedEvent,
  type SlotName,
} from '@cloudos/sdk';
import type { StreamWriter } from './stream-writer.ts';

export const kernelStream = 'kernel';

/** Which place in the stack: a slot, on a node where it is one of a node. Generations are counted by place. */
export function placeOf(slot: string, node?: string): string {
  return `${slot}|${node ?? ''}`;
}

/** What earlier runs of the kernel left in its stream that the next one needs. */
export interface KernelHistory {
  /** Digest of the stack file that the last run was assembled from. */
  readonly digest: string | undefined;
  /** By place: the highest generation so far. */
  readonly generations: ReadonlyMap<string, number>;
  /** Swaps since the stack was first assembled from a file of that digest, in order. */
  readonly swaps: readonly EventData<'SwapCompleted'>[];
  /** Swaps that a kernel began and did not live to end. */
  readonly openSwaps: readonly EventData<'SwapStarted'>[];
}

/** Reads the kernel's stream. */
export async function readHistory(log: Pick<LogProvider, 'read'>): Promise<KernelHistory> {
  const generations = new Map<string, number>();
  const open = new Map<string, EventData<'SwapStarted'>>();
  let digest: string | undefined;
  let swaps: EventData<'SwapCompleted'>[] = [];
  for await (const batch of log.read({ stream: kernelStream })) {
    for (const { type, data } of batch as readonly SharedEvent[]) {
      if (type === 'StreamClaimed') raise(generations, placeOf(kernelStream), data.generation);
      if (type === 'SwapStarted') open.set(placeOf(data.slot, data.node), data);
      if (type === 'SwapCompleted' || type === 'SwapAborted') open.delete(placeOf(data.slot, data.node));
      if (type === 'StackAssembled') {
        if (data.digest !== digest) swaps = [];
        digest = data.digest;
      }
      if (type === 'SwapCompleted') swaps.push(data);
      if (type === 'SwapCompleted' || type === 'PluginActivated' || type === 'PluginFailed') {
        raise(generations, placeOf(data.slot, data.node), data.generation);
      }
    }
  }
  return { digest, generations, swaps, openSwaps: [...open.values()] };
}

/** What ends the swaps that a kernel did not live to end. */
export function abortOpenSwaps({ openSwaps }: KernelHistory): NewEvent[] {
  const reason = 'the kernel ended during the swap';
  return openSwaps.map((swap) => event('SwapAborted', { ...swap, code: 'SWAP_ABORTED', reason }));
}

function raise(generations: Map<string, number>, place: string, generation: number): void {
  generations.set(place, Math.max(generations.get(place) ?? 0, generation));
}

/** Writes what the kernel itself does into its stream. */
export class KernelJournal {
  readonly #writer: StreamWriter;
  readonly #onError: (error: unknown) => void;

  constructor(writer: StreamWriter, onError: (error: unknown) => void) {
    this.#writer = writer;
    this.#onError = onError;
  }

  async claim(events: readonly NewEvent[]): Promise<void> {
    await this.#writer.claim(events);
  }

  /** Durable when it resolves. Returns the position. */
  record(entry: NewEvent): Promise<number> {
    return this.#writer.put(entry);
  }

  activated(slot: SlotName, node: string | undefined, { spec, generation }: Activation<unknown>): void {
    const { definition, version } = spec.plugin;
    this.#queue(
      event('PluginActivated', {
        slot,
        plugin: definition.name,
        version,
        generation,
        ...(node !== undefined && { node }),
      }),
    );
  }

  failed({ slot, node, plugin, generation, error, attempt, restartAt }: SlotFailure): void {
    this.#queue(
      event('PluginFailed', {
        slot,
        plugin,
        generation,
        code: error.code,
        reason: messageOf(error),
        attempt,
        ...(node !== undefined && { node }),
        ...(restartAt !== undefined && { restartAt }),
      }),
    );
  }

  nodeLost(node: string, reason: string): void {
    this.#queue(event('NodeLost', { node, reason }));
  }

  #queue(entry: NewEvent): void {
    this.#writer.write([entry]).catch(this.#onError);
  }

  /** Everything recorded so far is durable when it resolves. */
  async flushed(): Promise<void> {
    await this.#writer.flushed();
  }
}
