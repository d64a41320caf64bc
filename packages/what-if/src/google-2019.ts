import { malformed, type TraceRecord } from './trace-record.ts';

/** A row of a table: by column, as text. */
export type TableRow = Readonly<Record<string, unknown>>;

export interface MachineScale {
  /** What the amount 1 stands for in the normalised numbers of a trace. */
  readonly cpuMillis: number;
  readonly memoryBytes: number;
}

/** The largest machine of the trace is 1; what it is in truth was not published. This is a large server of the time. */
export const googleScale: MachineScale = { cpuMillis: 96_000, memoryBytes: 512 * 1024 ** 3 };

/** Times at which nothing happened: before the trace, and after it (microseconds). */
const before = 0;
const after = 2 ** 63;

/** Numbers of `EventType` in clusterdata_trace_format_v3.proto. */
const type = { submit: 0, schedule: 3, evict: 4, fail: 5, finish: 6, kill: 7, lost: 8 } as const;
const machine = { add: 1, remove: 2, update: 3 } as const;

interface Pending {
  readonly record: TraceRecord & { kind: 'instance' };
  scheduledAt: number | undefined;
}

/**
 * Converts rows of the tables `machine_events` and `instance_events` of the Google cluster traces of 2019 (version 3,
 * https://github.com/google/cluster-data, ClusterData2019.md). Rows of both may come mixed, each in the order of time.
 *
 * - An instance is asked for when it is submitted. It has the duration from when it was scheduled last to when it
 *   finished, failed or was killed; one that is evicted goes on waiting, and is scheduled again.
 * - What never ends in the trace goes on. Alloc instances are instances; tasks within them are left out, they take
 *   nothing of their own.
 * - Priorities fall into the bands of the trace: free 10, best effort batch 100, mid 150, production 200 and more,
 *   monitoring 900. The owner is that band, the workload the collection.
 */
export class Google2019 {
  readonly #scale: MachineScale;
  readonly #live = new Map<string, Pending>();

  constructor(scale: MachineScale = googleScale) {
    this.#scale = scale;
  }

  /** @returns records that are complete now. @throws CloudosError TRACE_MALFORMED for a row of neither table */
  take(row: TableRow): TraceRecord[] {
    if (row.instance_index !== undefined && row.collection_id !== undefined) return this.#instance(row);
    if (row.machine_id !== undefined && row.type !== undefined) return this.#machine(row);
    throw malformed(
      `a row of machine_events or instance_events was expected, given ${JSON.stringify(row).slice(0, 120)}`,
    );
  }

  /** What has not ended: it goes on. */
  end(): TraceRecord[] {
    const records = [...this.#live.values()].map(({ record }) => record);
    this.#live.clear();
    return records;
  }

  #machine(row: TableRow): TraceRecord[] {
    const timeMs = msOf(row.time);
    const node = `m${row.machine_id}`;
    if (Number(row.type) === machine.remove) return [{ kind: 'node-gone', timeMs, node }];
    if (Number(row.type) !== machine.add && Number(row.type) !== machine.update) return [];
    const cpus = numberAt(row, 'capacity', 'cpus');
    const memory = numberAt(row, 'capacity', 'memory');
    const attributes = {
      ...(row.switch_id ? { rack: String(row.switch_id) } : {}),
      ...(row.platform_id ? { platform: String(row.platform_id) } : {}),
    };
    return [{ kind: 'node', timeMs, node, capacity: this.#amount(cpus, memory), attributes, runtimes: ['simulated'] }];
  }

  #instance(row: TableRow): TraceRecord[] {
    if (Number(row.alloc_collection_id ?? 0) > 0) return [];
    const time = Number(row.time);
    const name = `c${row.collection_id}-${row.instance_index}`;
    const what = Number(row.type);
    const known = this.#live.get(name);
    if (what === type.submit && !known && time < after) {
      this.#live.set(name, { record: this.#request(row, name), scheduledAt: undefined });
      return [];
    }
    if (!known) return [];
    if (what === type.schedule) known.scheduledAt = msOf(time);
    if (what === type.evict) known.scheduledAt = undefined;
    if (what !== type.finish && what !== type.fail && what !== type.kill && what !== type.lost) return [];
    this.#live.delete(name);
    const endMs = msOf(time);
    if (known.scheduledAt === undefined) return [known.record, { kind: 'end', timeMs: endMs, instance: name }];
    return [{ ...known.record, durationMs: Math.max(0, endMs - known.scheduledAt) }];
  }

  #request(row: TableRow, instance: string): TraceRecord & { kind: 'instance' } {
    const cpus = numberAt(row, 'resource_request', 'cpus');
    const memory = numberAt(row, 'resource_request', 'memory');
    const { owner, priority } = bandOf(Number(row.priority ?? 0));
    return {
      kind: 'instance',
      timeMs: Number(row.time) === before ? 0 : msOf(row.time),
      instance,
      workload: `google/c${row.collection_id}`,
      requests: this.#amount(cpus, memory),
      priority,
      owner,
    };
  }

  #amount(cpus: number, memory: number) {
    const { cpuMillis, memoryBytes } = this.#scale;
    return {
      cpuMillis: Math.ceil(cpus * cpuMillis),
      memoryBytes: Math.ceil(memory * memoryBytes),
      diskBytes: 0,
      pids: 0,
    };
  }
}

/** The tiers that the documentation of the trace divides priorities into. */
function bandOf(priority: number): { owner: string; priority: number } {
  if (priority <= 99) return { owner: 'free', priority: 10 };
  if (priority <= 115) return { owner: 'best-effort-batch', priority: 100 };
  if (priority <= 119) return { owner: 'mid', priority: 150 };
  if (priority <= 359) return { owner: 'production', priority: 200 + Math.min(600, priority - 120) };
  return { owner: 'monitoring', priority: 900 };
}

/** Microseconds, as BigQuery writes 64-bit numbers: text. */
function msOf(time: unknown): number {
  const microseconds = Number(time);
  if (!Number.isFinite(microseconds) || microseconds < 0) throw malformed(`time ${JSON.stringify(time)} is not a time`);
  return microseconds / 1_000;
}

/** `capacity.cpus` as a column of CSV, or `capacity: { cpus }` as JSON nests it; 0 where it is absent. */
function numberAt(row: TableRow, outer: string, inner: string): number {
  const nested = row[outer] as Readonly<Record<string, unknown>> | undefined | null;
  const value = Number(row[`${outer}.${inner}`] ?? (typeof nested === 'object' ? nested?.[inner] : undefined) ?? 0);
  if (!Number.isFinite(value)) throw malformed(`${outer}.${inner} is not a number`);
  return value;
}
