import { HypotheticalPolicy, PlacementLedger, type ResourcesPolicy, restless, roundsMax } from '@cloudos/kernel';
import { event, type NewEvent, type PlacementMeasures, type SharedEvent } from '@cloudos/sdk';
import { Agenda } from './agenda.ts';
import type { OrchestrationMeasures } from './orchestration-tally.ts';
import type { TraceRecord } from './trace-record.ts';

/** Points of a series, about. */
export const samplesMax = 400;
/** Wakes in a row that decide nothing after the last of the demand: then it is over. */
const idleWakesMax = 200;
/** How long one call to the policy may take. */
const deadlineMs = 30_000;
/** Steps between which others get the thread. */
const stepsAtOnce = 256;

export interface Sample {
  readonly timeMs: number;
  readonly cpu: number;
  readonly memory: number;
  readonly pending: number;
  readonly nodesInUse: number;
}

/** What a resource manager made of the demand. */
export interface SimulatedRun {
  readonly name: string;
  readonly measures: PlacementMeasures;
  readonly series: readonly Sample[];
  /** What an orchestrator did, where one took part. */
  readonly orchestration?: OrchestrationMeasures;
  /** From the first of the demand until it was over, milliseconds. */
  readonly durationMs: number;
}

export interface SimulationOptions {
  readonly name: string;
  readonly policy: ResourcesPolicy;
  /** In the order of time. */
  readonly records: readonly TraceRecord[];
  /** When it is over, whatever is left (default: when all has ended that can). */
  readonly untilMs?: number;
  readonly onProgress?: (done: number, of: number) => void;
}

/**
 * Plays a demand to a resource manager on simulated nodes, on a virtual clock: from one moment at which something
 * happens to the next. Guests run as soon as they are placed. One that is preempted is removed after its grace and asked
 * for anew; what it had done is lost. Deterministic.
 */
export async function simulate(options: SimulationOptions): Promise<SimulatedRun> {
  const simulation = new Simulation(options);
  await simulation.run();
  return simulation.result;
}

type Instance = TraceRecord & { kind: 'instance' };

class Simulation {
  readonly #options: SimulationOptions;
  readonly #policy: HypotheticalPolicy;
  readonly #ledger: PlacementLedger;
  readonly #wanted = new Map<string, Instance>();
  /** What happens later by itself: ends of durations and graces. `run` tells an old placement from a new one. */
  readonly #agenda = new Agenda<{ readonly instance: string; readonly run: number; readonly again: boolean }>();
  readonly #runs = new Map<string, number>();
  readonly #series: Sample[] = [];
  readonly #start: number;
  readonly #sampleMs: number;
  #now: number;
  #next = 0;
  #nextSample: number;

  constructor(options: SimulationOptions) {
    const { records, policy, name, untilMs } = options;
    this.#options = options;
    this.#policy = new HypotheticalPolicy(policy, name, deadlineMs);
    this.#start = records[0]?.timeMs ?? 0;
    const end = untilMs ?? records.reduce((last, { timeMs }) => Math.max(last, timeMs), this.#start);
    this.#sampleMs = Math.max(1, (end - this.#start) / samplesMax);
    this.#now = this.#start;
    this.#nextSample = this.#start;
    this.#ledger = new PlacementLedger(this.#start);
  }

  get result(): SimulatedRun {
    const { name } = this.#options;
    this.#ledger.passTo(this.#now);
    const { measures } = this.#ledger;
    return { name, measures, series: this.#series, durationMs: this.#now - this.#start };
  }

  async run(): Promise<void> {
    const { records, untilMs = Number.POSITIVE_INFINITY, onProgress } = this.#options;
    let idle = 0;
    for (let step = 0; ; step++) {
      if (step % stepsAtOnce === 0) {
        onProgress?.(this.#next, records.length);
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      const planned = Math.min(records[this.#next]?.timeMs ?? Infinity, this.#agenda.dueAt ?? Infinity);
      const at = Math.max(this.#now, Math.min(planned, this.#policy.wakeAt ?? Infinity));
      if (!Number.isFinite(at) || at > untilMs) break;
      this.#sampleUpTo(at);
      this.#now = at;
      this.#happen();
      const decided = this.#settle();
      idle = planned === Infinity && decided === 0 ? idle + 1 : 0;
      if (idle > idleWakesMax) break;
    }
    if (Number.isFinite(untilMs)) this.#now = Math.max(this.#now, untilMs);
    this.#sampleUpTo(this.#now);
    onProgress?.(records.length, records.length);
  }

  /** Everything that is due now. */
  #happen(): void {
    const { records } = this.#options;
    for (let due = this.#agenda.take(this.#now); due; due = this.#agenda.take(this.#now)) this.#leave(due);
    while (this.#next < records.length && records[this.#next]!.timeMs <= this.#now) this.#take(records[this.#next++]!);
  }

  #take(record: TraceRecord): void {
    switch (record.kind) {
      case 'node': {
        const runtimes = record.runtimes.map((name) => ({ name, version: '0', features: {} }));
        const { node, capacity, attributes } = record;
        return this.#tell(event('NodeJoined', { node, capacity, attributes, runtimes }));
      }
      case 'node-gone':
        return this.#lose(record.node);
      case 'instance':
        this.#wanted.set(record.instance, record);
        return this.#request(record);
      case 'end':
        return this.#withdraw(record.instance);
      case 'fact':
        return this.#tell({ type: record.type, data: record.data });
    }
  }

  #request(record: Instance): void {
    const { kind: _, timeMs: __, durationMs: ___, ...said } = record;
    this.#tell({ type: 'InstanceRequested', data: { revision: 1, ...said } });
  }

  #withdraw(instance: string): void {
    this.#wanted.delete(instance);
    this.#runs.delete(instance);
    const node = this.#ledger.instances.get(instance)?.node;
    this.#tell(event('InstanceWithdrawn', { instance, reason: 'not wanted', drainMs: 0, graceMs: 0 }));
    if (node !== undefined) this.#tell(event('GuestRemoved', { instance, node }));
  }

  /** What was on the node is asked for anew. */
  #lose(node: string): void {
    const lost = [...(this.#ledger.nodes.get(node)?.instances ?? [])];
    this.#tell(event('NodeLost', { node, reason: 'gone' }));
    for (const instance of lost) {
      this.#runs.delete(instance);
      const record = this.#wanted.get(instance);
      if (record) this.#request(record);
    }
  }

  #leave({ instance, run, again }: { instance: string; run: number; again: boolean }): void {
    if (this.#runs.get(instance) !== run) return;
    this.#runs.delete(instance);
    const record = this.#wanted.get(instance);
    const node = this.#ledger.instances.get(instance)?.node;
    if (node !== undefined) this.#tell(event('GuestRemoved', { instance, node }));
    if (again && record) return this.#request(record);
    this.#wanted.delete(instance);
  }

  #settle(): number {
    let all = 0;
    for (let round = 0; round < roundsMax; round++) {
      const decided = this.#policy.react(this.#now);
      for (const decision of decided) this.#decide(decision as SharedEvent);
      all += decided.length;
      if (decided.length === 0 && (this.#policy.wakeAt ?? Infinity) > this.#now) return all;
    }
    throw restless(this.#options.name);
  }

  #decide(decision: SharedEvent): void {
    this.#ledger.take(decision);
    if (decision.type === 'InstancePlaced') {
      const { instance } = decision.data;
      const run = ++this.#made;
      this.#runs.set(instance, run);
      const { durationMs } = this.#wanted.get(instance) ?? {};
      if (durationMs !== undefined) this.#agenda.add(this.#now + durationMs, { instance, run, again: false });
    } else if (decision.type === 'InstancePreempted') {
      const { instance, graceMs } = decision.data;
      const run = ++this.#made;
      this.#runs.set(instance, run);
      this.#agenda.add(this.#now + graceMs, { instance, run, again: true });
    }
  }

  #made = 0;

  #tell(told: NewEvent): void {
    const recorded = this.#policy.record(told, 'demand', this.#now);
    this.#policy.evolve([recorded]);
    this.#ledger.take(recorded as SharedEvent);
  }

  #sampleUpTo(time: number): void {
    while (this.#nextSample <= time && this.#series.length < 4 * samplesMax) {
      const { utilisation, pending, nodesInUse } = this.#ledger.measures;
      this.#series.push({ timeMs: this.#nextSample - this.#start, ...utilisation, pending, nodesInUse });
      // where nothing happens for long, nothing is to be seen
      const steps = Math.max(1, Math.floor((time - this.#nextSample) / this.#sampleMs));
      this.#nextSample += steps * this.#sampleMs;
    }
  }
}
