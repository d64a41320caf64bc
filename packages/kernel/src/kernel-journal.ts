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

/** Changes when the saved shape does. */
const historyVersion = 1;
const historyKey = 'kernel/history';

interface SavedHistory extends Omit<KernelHistory, 'generations'> {
  readonly generations: readonly (readonly [place: string, generation: number])[];
  /** The last event of the kernel's stream that is in it. */
  readonly revision: number;
}

/**
 * Reads the kernel's stream, from what the last call has left on. Leaves a snapshot itself: the events before it may be
 * trimmed. Failing to leave one is not an error: the older one stays.
 */
export async function readHistory(
  log: Pick<LogProvider, 'read' | 'head' | 'snapshots'>,
  onUnsaved: (error: unknown) => void,
): Promise<KernelHistory> {
  const position = log.head();
  const snapshot = await log.snapshots.load(historyKey, historyVersion);
  const saved = snapshot && snapshot.position <= position ? (snapshot.state as SavedHistory) : undefined;
  const generations = new Map(saved?.generations);
  const open = new Map((saved?.openSwaps ?? []).map((swap) => [placeOf(swap.slot, swap.node), swap]));
  let digest = saved?.digest;
  let swaps = [...(saved?.swaps ?? [])];
  let revision = saved?.revision ?? -1;
  for await (const batch of log.read({ stream: kernelStream, from: revision + 1 })) {
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
    revision = batch[batch.length - 1]!.revision;
  }
  const history = { digest, swaps, openSwaps: [...open.values()] };
  if (position >= 0 && position !== snapshot?.position) {
    const state: SavedHistory = { ...history, generations: [...generations], revision };
    await log.snapshots.save(historyKey, { version: historyVersion, position, state }).catch(onUnsaved);
  }
  return { ...history, generations };
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
