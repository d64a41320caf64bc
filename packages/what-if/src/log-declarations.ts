import type { RecordedEvent, SharedEvent } from '@cloudos/sdk';
import type { TraceRecord } from './trace-record.ts';

/** How the guests of a workload behaved, as recorded. */
export interface WorkloadLife {
  /** From the start until it was ready, milliseconds; the median. Undefined: nothing probed it, it was ready at once. */
  readonly readyMs: number | undefined;
  /** By start, in their order: how long it ran before it exited by itself; undefined where it did not. */
  readonly lastsMs: readonly (number | undefined)[];
}

/** Runs of one workload that are remembered: those after it last. */
const runsMax = 100_000;

interface Run {
  readonly startedAt: number;
  readonly index: number;
  readonly workload: string;
}

/**
 * What was declared, by a log: workloads and services, as whoever decides what that comes to takes them in. Requests are
 * left out; of guests it is kept how soon they were ready and how long they ran.
 *
 * Feed it the log from its beginning; {@link records} are those from a position on, what stood there as if it had just
 * been declared.
 */
export class LogDeclarations {
  readonly #from: number;
  readonly #standing = new Map<string, TraceRecord & { kind: 'fact' }>();
  readonly #workloads = new Map<string, string>();
  readonly #running = new Map<string, Run>();
  readonly #ready = new Map<string, number[]>();
  readonly #lasts = new Map<string, (number | undefined)[]>();
  #records: TraceRecord[] | undefined;

  /** @param from position from which on declarations are recorded */
  constructor(from: number) {
    this.#from = from;
  }

  take(recorded: RecordedEvent): void {
    if (recorded.position >= this.#from && !this.#records) {
      this.#records = [...this.#standing.values()].map((fact) => ({ ...fact, timeMs: recorded.time }));
    }
    const event = recorded as SharedEvent;
    switch (event.type) {
      case 'WorkloadDeclared':
      case 'WorkloadChanged':
        return this.#declare(recorded, `workload ${event.data.workload}`, 'WorkloadDeclared');
      case 'ServiceDeclared':
        return this.#declare(recorded, `service ${event.data.service}`, 'ServiceDeclared');
      case 'WorkloadRemoved':
        return this.#declare(recorded, `workload ${event.data.workload}`, undefined);
      case 'ServiceRemoved':
        return this.#declare(recorded, `service ${event.data.service}`, undefined);
      default:
        this.#live(event);
    }
  }

  get records(): readonly TraceRecord[] {
    return this.#records ?? [];
  }

  get lives(): ReadonlyMap<string, WorkloadLife> {
    return new Map(
      [...this.#lasts].map(([workload, lastsMs]) => {
        const ready = (this.#ready.get(workload) ?? []).toSorted((one, other) => one - other);
        return [workload, { readyMs: ready[ready.length >> 1], lastsMs }];
      }),
    );
  }

  #declare({ type, data, time: timeMs }: RecordedEvent, subject: string, standing: string | undefined): void {
    const fact = { kind: 'fact' as const, timeMs, type, data: data as Record<string, unknown> };
    if (standing) this.#standing.set(subject, { ...fact, type: standing });
    else this.#standing.delete(subject);
    this.#records?.push(fact);
  }

  #live(event: SharedEvent): void {
    switch (event.type) {
      case 'InstanceRequested':
        this.#workloads.set(event.data.instance, event.data.workload);
        return;
      case 'GuestStarted':
        return this.#start(event.data.instance, event.time);
      case 'GuestHealthy': {
        const run = this.#running.get(event.data.instance);
        if (!run || event.data.probe !== 'readiness') return;
        const ready = this.#ready.get(run.workload) ?? [];
        if (ready.length < runsMax) ready.push(event.time - run.startedAt);
        this.#ready.set(run.workload, ready);
        return;
      }
      case 'GuestExited': {
        const run = this.#running.get(event.data.instance);
        this.#running.delete(event.data.instance);
        if (run && event.data.reason === 'exited')
          this.#lasts.get(run.workload)![run.index] = event.time - run.startedAt;
        return;
      }
      case 'GuestRemoved':
        this.#running.delete(event.data.instance);
        this.#workloads.delete(event.data.instance);
    }
  }

  #start(instance: string, startedAt: number): void {
    const workload = this.#workloads.get(instance);
    if (workload === undefined) return;
    const lasts = this.#lasts.get(workload) ?? [];
    this.#lasts.set(workload, lasts);
    if (lasts.length < runsMax) this.#running.set(instance, { startedAt, workload, index: lasts.push(undefined) - 1 });
  }
}
