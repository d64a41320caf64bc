import type { RecordedEvent, SharedEvent } from '@cloudos/sdk';
import { type TraceRecord, traceRecord } from './trace-record.ts';

/** What operators say is part of the demand. */
const facts: ReadonlySet<string> = new Set([
  'NodeCordoned',
  'NodeUncordoned',
  'QuotaSet',
  'QuotaRemoved',
  'OwnerStateChanged',
  'MaintenanceScheduled',
  'MaintenanceCancelled',
]);

/**
 * What was asked for, by a log: nodes, requests, how long instances lasted, what operators said. Where instances were
 * is left out. An instance that exited by itself has a duration; one that was withdrawn, preempted or lost with its node
 * ends when it did, because what was asked for in its place is in the log too.
 *
 * Feed it the log from its beginning; {@link records} are those from a position on, what was live there as if it had
 * just been asked for.
 */
export class LogDemand {
  readonly #from: number;
  readonly #live = new Map<string, TraceRecord & { kind: 'instance' }>();
  readonly #placedAt = new Map<string, { readonly node: string; readonly time: number }>();
  readonly #nodes = new Map<string, TraceRecord & { kind: 'node' }>();
  readonly #standing = new Map<string, TraceRecord & { kind: 'fact' }>();
  #records: TraceRecord[] | undefined;

  /** @param from position from which on demand is recorded */
  constructor(from: number) {
    this.#from = from;
  }

  take(recorded: RecordedEvent): void {
    if (recorded.position >= this.#from && !this.#records) this.#begin(recorded.time);
    const event = recorded as SharedEvent;
    const timeMs = recorded.time;
    if (facts.has(event.type)) return this.#fact(recorded);
    switch (event.type) {
      case 'NodeJoined':
      case 'NodeCapacityChanged':
        return this.#node(event, timeMs);
      case 'NodeLost':
      case 'NodeLeft':
        return this.#lose(event.data.node, timeMs);
      case 'InstanceRequested':
        return this.#request(event.data, timeMs);
      case 'InstancePlaced':
        this.#placedAt.set(event.data.instance, { node: event.data.node, time: timeMs });
        return;
      case 'GuestExited':
        if (event.data.reason === 'exited') this.#exit(event.data.instance, timeMs);
        return;
      case 'GuestStarted':
        return this.#restart(event.data.instance, event.data.attempt);
      case 'InstanceWithdrawn':
      case 'InstancePreempted':
      case 'GuestRemoved':
        this.#end(event.data.instance, timeMs);
    }
  }

  /** In the order of time. */
  get records(): readonly TraceRecord[] {
    return this.#records ?? [];
  }

  #begin(timeMs: number): void {
    this.#records = [];
    for (const node of this.#nodes.values()) this.#records.push({ ...node, timeMs });
    for (const fact of this.#standing.values()) this.#records.push({ ...fact, timeMs });
    for (const [name, instance] of this.#live) {
      const again = { ...instance, timeMs };
      this.#live.set(name, again);
      this.#records.push(again);
    }
  }

  #node({ type, data }: Extract<SharedEvent, { type: 'NodeJoined' | 'NodeCapacityChanged' }>, timeMs: number): void {
    const attributes = type === 'NodeJoined' ? data.attributes : (this.#nodes.get(data.node)?.attributes ?? {});
    const runtimes = data.runtimes.map(({ name }) => name);
    const node = { kind: 'node' as const, timeMs, node: data.node, capacity: data.capacity, attributes, runtimes };
    this.#nodes.set(data.node, node);
    this.#records?.push(node);
  }

  #lose(node: string, timeMs: number): void {
    this.#nodes.delete(node);
    for (const [instance, placed] of this.#placedAt) if (placed.node === node) this.#end(instance, timeMs);
    this.#records?.push({ kind: 'node-gone', timeMs, node });
  }

  #request(data: Extract<SharedEvent, { type: 'InstanceRequested' }>['data'], timeMs: number): void {
    const { revision: _, image: __, reservation: ___, ...said } = data;
    const record = traceRecord.parse({ kind: 'instance', timeMs, ...said }) as TraceRecord & { kind: 'instance' };
    this.#live.set(data.instance, record);
    this.#records?.push(record);
  }

  /** It ended by itself: elsewhere it would have lasted as long from its placement. */
  #exit(instance: string, timeMs: number): void {
    const record = this.#live.get(instance);
    const placed = this.#placedAt.get(instance);
    if (record && placed) record.durationMs = Math.max(0, timeMs - placed.time);
  }

  #restart(instance: string, attempt: number): void {
    const record = this.#live.get(instance);
    if (record && attempt > 1) delete record.durationMs;
  }

  #end(instance: string, timeMs: number): void {
    const record = this.#live.get(instance);
    this.#placedAt.delete(instance);
    if (!record) return;
    this.#live.delete(instance);
    if (record.durationMs === undefined) this.#records?.push({ kind: 'end', timeMs, instance });
  }

  #fact({ type, data, time: timeMs }: RecordedEvent): void {
    const fact = { kind: 'fact' as const, timeMs, type, data: data as Record<string, unknown> };
    const { node, owner } = fact.data as { node?: string; owner?: string };
    const subject = `${/^(Node|Maintenance|Quota|Owner)/.exec(type)?.[0]} ${node ?? owner}`;
    if (type === 'NodeUncordoned' || type === 'QuotaRemoved' || type === 'MaintenanceCancelled')
      this.#standing.delete(subject);
    else this.#standing.set(subject, fact);
    this.#records?.push(fact);
  }
}
