import type { EventData } from '@cloudos/sdk';
import type { Request } from './mix.ts';

/**
 * The bound: best fit over all nodes for each instance, in typed arrays, with nothing kept but what is free. It heeds
 * resources and constraints on attributes; priorities and rules about company are not its business.
 */
export class FullScan {
  readonly #nodes: readonly EventData<'NodeJoined'>[];
  readonly #free: Float64Array;
  readonly #scale: Float64Array;
  readonly #met = new Map<string, Uint8Array>();
  readonly #everywhere: Uint8Array;

  constructor(nodes: readonly EventData<'NodeJoined'>[]) {
    this.#nodes = nodes;
    this.#free = new Float64Array(nodes.length * 4);
    this.#scale = new Float64Array(4);
    this.#everywhere = new Uint8Array(nodes.length).fill(1);
    for (const [slot, { capacity }] of nodes.entries()) {
      const amounts = [capacity.cpuMillis, capacity.memoryBytes, capacity.diskBytes, capacity.pids];
      this.#free.set(amounts, slot * 4);
      for (const [at, amount] of amounts.entries()) this.#scale[at] = Math.max(this.#scale[at]!, amount);
    }
    for (let at = 0; at < 4; at++) this.#scale[at] = 1 / this.#scale[at]!;
  }

  /** Takes the fullest node that has room (least left of cores and memory); -1 when none has. */
  place(request: Request): number {
    const { cpuMillis, memoryBytes, diskBytes, pids } = request.requests;
    const free = this.#free;
    const met = this.#metBy(request);
    const [perCpu, perMemory] = [this.#scale[0]!, this.#scale[1]!];
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    for (let slot = 0, at = 0; slot < met.length; slot++, at += 4) {
      if (
        free[at]! < cpuMillis ||
        free[at + 1]! < memoryBytes ||
        free[at + 2]! < diskBytes ||
        free[at + 3]! < pids ||
        met[slot] === 0
      ) {
        continue;
      }
      const left = free[at]! * perCpu + free[at + 1]! * perMemory;
      if (left >= least) continue;
      least = left;
      best = slot;
    }
    if (best >= 0) this.take(best, request);
    return best;
  }

  take(slot: number, { requests: { cpuMillis, memoryBytes, diskBytes, pids } }: Request): void {
    const at = slot * 4;
    this.#free[at] = this.#free[at]! - cpuMillis;
    this.#free[at + 1] = this.#free[at + 1]! - memoryBytes;
    this.#free[at + 2] = this.#free[at + 2]! - diskBytes;
    this.#free[at + 3] = this.#free[at + 3]! - pids;
  }

  #metBy({ constraints }: Request): Uint8Array {
    if (!constraints) return this.#everywhere;
    const key = JSON.stringify(constraints);
    let met = this.#met.get(key);
    if (!met) {
      met = Uint8Array.from(this.#nodes, ({ attributes }) =>
        constraints.every(({ attribute, values }) => values.includes(attributes[attribute] ?? '')) ? 1 : 0,
      );
      this.#met.set(key, met);
    }
    return met;
  }
}
