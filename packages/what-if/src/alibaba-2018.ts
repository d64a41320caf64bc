import type { MachineScale } from './google-2019.ts';
import { malformed, type TraceRecord } from './trace-record.ts';

/** Memory is normalised to 100; what that is in truth was not published. Cores are told. */
export const alibabaScale: Pick<MachineScale, 'memoryBytes'> = { memoryBytes: 512 * 1024 ** 3 };

export type AlibabaTable = 'machine_meta' | 'container_meta' | 'batch_task';

/** Columns by table, in their order: the files have no header. */
const columns: Readonly<Record<AlibabaTable, readonly string[]>> = {
  machine_meta: ['machine_id', 'time_stamp', 'failure_domain_1', 'failure_domain_2', 'cpu_num', 'mem_size', 'status'],
  container_meta: [
    'container_id',
    'machine_id',
    'time_stamp',
    'app_du',
    'status',
    'cpu_request',
    'cpu_limit',
    'mem_size',
  ],
  batch_task: [
    'task_name',
    'instance_num',
    'job_name',
    'task_type',
    'status',
    'start_time',
    'end_time',
    'plan_cpu',
    'plan_mem',
  ],
};

/** Instances of one task beyond which it is not believed. */
const instancesMax = 100_000;

/** Which table a file is, by its name; undefined for those that tell of usage only. */
export function alibabaTableOf(file: string): AlibabaTable | undefined {
  const name = file.slice(file.lastIndexOf('/') + 1);
  return (Object.keys(columns) as AlibabaTable[]).find((table) => name.startsWith(table));
}

/**
 * Converts rows of `machine_meta`, `container_meta` and `batch_task` of the Alibaba cluster trace of 2018
 * (https://github.com/alibaba/clusterdata, cluster-trace-v2018/schema.md).
 *
 * - A machine is a node from its first row; `failure_domain_1` is its zone.
 * - A container is a long-running instance of the owner `online` from its first row on, its deploy unit the workload; it
 *   lasts until the end of the trace. Later rows about the same container are changes of state and say nothing new.
 * - A batch task is `instance_num` instances of the owner `batch`, each with the duration of the task, asked for when it
 *   started: when it was submitted is not in the trace. A task without an end goes on. The workload is job and task.
 */
export class Alibaba2018 {
  readonly #memoryBytes: number;
  readonly #seen = new Set<string>();

  constructor({ memoryBytes } = alibabaScale) {
    this.#memoryBytes = memoryBytes;
  }

  /** @throws CloudosError TRACE_MALFORMED */
  take(table: AlibabaTable, fields: readonly string[]): TraceRecord[] {
    const names = columns[table];
    if (fields.length !== names.length) {
      throw malformed(`${table}: ${fields.length} fields, expected ${names.length}: ${names.join(', ')}`);
    }
    const row = Object.fromEntries(names.map((name, at) => [name, fields[at]!]));
    if (table === 'machine_meta') return this.#machine(row);
    return table === 'container_meta' ? this.#container(row) : this.#task(row);
  }

  #machine(row: Readonly<Record<string, string>>): TraceRecord[] {
    const node = row.machine_id!;
    if (!this.#first(`m ${node}`)) return [];
    const capacity = this.#amount(number(row, 'cpu_num') * 100, number(row, 'mem_size'));
    const attributes = { zone: row.failure_domain_1!, 'failure-domain-2': row.failure_domain_2! };
    return [
      { kind: 'node', timeMs: number(row, 'time_stamp') * 1_000, node, capacity, attributes, runtimes: ['simulated'] },
    ];
  }

  #container(row: Readonly<Record<string, string>>): TraceRecord[] {
    const instance = row.container_id!;
    if (!this.#first(`c ${instance}`)) return [];
    return [
      {
        kind: 'instance',
        timeMs: number(row, 'time_stamp') * 1_000,
        instance,
        workload: `online/${row.app_du}`,
        requests: this.#amount(number(row, 'cpu_request'), number(row, 'mem_size')),
        priority: 200,
        owner: 'online',
      },
    ];
  }

  #task(row: Readonly<Record<string, string>>): TraceRecord[] {
    const workload = `batch/${row.job_name}/${row.task_name}`;
    const start = number(row, 'start_time');
    if (start <= 0) return []; // it never started
    const end = number(row, 'end_time');
    const count = number(row, 'instance_num');
    if (count > instancesMax) throw malformed(`${workload}: ${count} instances, at most ${instancesMax} are believed`);
    const requests = this.#amount(number(row, 'plan_cpu'), number(row, 'plan_mem'));
    const common = {
      kind: 'instance' as const,
      timeMs: start * 1_000,
      workload,
      requests,
      priority: 100,
      owner: 'batch',
    };
    const duration = end >= start ? { durationMs: (end - start) * 1_000 } : {};
    return Array.from({ length: count }, (_, at) => ({
      ...common,
      instance: `${row.job_name}-${row.task_name}-${at}`,
      ...duration,
    }));
  }

  #first(key: string): boolean {
    return !this.#seen.has(key) && this.#seen.add(key) !== undefined;
  }

  /** @param cpu 100 is one core @param memory of 100 */
  #amount(cpu: number, memory: number) {
    const memoryBytes = Math.ceil((memory / 100) * this.#memoryBytes);
    return { cpuMillis: Math.ceil(cpu * 10), memoryBytes, diskBytes: 0, pids: 0 };
  }
}

/** What is missing in the trace is an empty field: 0. */
function number(row: Readonly<Record<string, string>>, column: string): number {
  const value = Number(row[column] ?? '');
  if (!Number.isFinite(value)) throw malformed(`${column} ${JSON.stringify(row[column])} is not a number`);
  return value;
}
