import { HypotheticalPolicy, PlacementLedger, type ResourcesPolicy, restless, roundsMax } from '@cloudos/kernel';
import {
  event,
  type NewEvent,
  type OrchestratorCommand,
  type Policy,
  type RecordedEvent,
  type SharedEvent,
} from '@cloudos/sdk';
import { Agenda } from './agenda.ts';
import type { WorkloadLife } from './log-declarations.ts';
import { OrchestrationTally } from './orchestration-tally.ts';
import { type Sample, type SimulatedRun, samplesMax } from './simulation.ts';
import type { TraceRecord } from './trace-record.ts';

/** How long one call to a policy may take. */
const deadlineMs = 30_000;
/** Steps between which others get the thread. */
const stepsAtOnce = 256;
/** Wakes in a row in which nothing is decided, after the last of the demand: then it is over. */
const idleWakesMax = 200;

export interface StackSimulationOptions {
  readonly name: string;
  readonly resources: ResourcesPolicy;
  readonly orchestrator: Policy<unknown, OrchestratorCommand>;
  /** Nodes, what operators said and what was declared, in the order of time. Requests are the orchestrator's. */
  readonly records: readonly TraceRecord[];
  /** How guests behave, by workload; those of others are ready at once and run for good. */
  readonly lives: ReadonlyMap<string, WorkloadLife>;
  /** When it is over, whatever is left (default: when nothing happens any more). */
  readonly untilMs?: number;
}

/**
 * Plays what was declared to the orchestrator and the resource manager of a stack on simulated nodes, on a virtual
 * clock. Guests start as soon as they are placed, are ready and exit as those of their workload did, and go as soon as
 * they may. Deterministic.
 */
export async function simulateStack(options: StackSimulationOptions): Promise<SimulatedRun> {
  const simulation = new StackSimulation(options);
  await simulation.run();
  return simulation.result;
}

interface Guest {
  readonly workload: string;
  node: string | undefined;
  attempt: number;
  /** Tells what was planned for an earlier start from what holds. */
  run: number;
}

interface Planned {
  readonly instance: string;
  readonly run: number;
  readonly what: 'ready' | 'exit' | 'remove';
}

class StackSimulation {
  readonly #options: StackSimulationOptions;
  readonly #resources: HypotheticalPolicy;
  readonly #orchestrator: HypotheticalPolicy;
  readonly #ledger: PlacementLedger;
  readonly #tally: OrchestrationTally;
  readonly #guests = new Map<string, Guest>();
  readonly #agenda = new Agenda<Planned>();
  /** By workload: how many starts there were. */
  readonly #starts = new Map<string, number>();
  readonly #series: Sample[] = [];
  readonly #start: number;
  readonly #sampleMs: number;
  #nextSample: number;
  #now: number;
  #next = 0;
  #position = 0;
  #runs = 0;

  constructor(options: StackSimulationOptions) {
    const { name, resources, orchestrator, records, untilMs } = options;
    this.#options = options;
    this.#resources = new HypotheticalPolicy(resources, name, deadlineMs);
    this.#orchestrator = new HypotheticalPolicy(orchestrator as unknown as ResourcesPolicy, name, deadlineMs);
    this.#start = records[0]?.timeMs ?? 0;
    this.#now = this.#start;
    this.#nextSample = this.#start;
    const end = untilMs ?? records.at(-1)?.timeMs ?? this.#start;
    this.#sampleMs = Math.max(1, (end - this.#start) / samplesMax);
    this.#ledger = new PlacementLedger(this.#start);
    this.#tally = new OrchestrationTally(this.#start);
  }

  get result(): SimulatedRun {
    this.#ledger.passTo(this.#now);
    const { measures } = this.#ledger;
    return {
      name: this.#options.name,
      measures,
      orchestration: this.#tally.measures,
      series: this.#series,
      durationMs: this.#now - this.#start,
    };
  }

  async run(): Promise<void> {
    const { records, untilMs = Number.POSITIVE_INFINITY } = this.#options;
    let idle = 0;
    for (let step = 0; ; step++) {
      if (step % stepsAtOnce === 0) await new Promise<void>((resolve) => setImmediate(resolve));
      const planned = Math.min(records[this.#next]?.timeMs ?? Infinity, this.#agenda.dueAt ?? Infinity);
      const woken = Math.min(this.#resources.wakeAt ?? Infinity, this.#orchestrator.wakeAt ?? Infinity);
      const at = Math.max(this.#now, Math.min(planned, woken));
      if (!Number.isFinite(at) || at > untilMs) break;
      this.#sampleUpTo(at);
      this.#now = at;
      for (let due = this.#agenda.take(at); due; due = this.#agenda.take(at)) this.#happen(due);
      while (this.#next < records.length && records[this.#next]!.timeMs <= at) this.#take(records[this.#next++]!);
      const decided = this.#settle();
      idle = planned === Infinity && decided === 0 ? idle + 1 : 0;
      if (idle > idleWakesMax) break;
    }
    if (Number.isFinite(untilMs)) this.#now = Math.max(this.#now, untilMs);
    this.#sampleUpTo(this.#now);
  }

  #take(record: TraceRecord): void {
    switch (record.kind) {
      case 'node': {
        const { node, capacity, attributes } = record;
        const runtimes = record.runtimes.map((name) => ({ name, version: '0', features: {} }));
        return this.#tell(event('NodeJoined', { node, capacity, attributes, runtimes }), `node-${node}`);
      }
      case 'node-gone':
        for (const [instance, guest] of this.#guests) if (guest.node === record.node) this.#guests.delete(instance);
        return this.#tell(event('NodeLost', { node: record.node, reason: 'gone' }), 'kernel');
      case 'fact':
        return this.#tell({ type: record.type, data: record.data }, 'demand');
    }
  }

  #happen({ instance, run, what }: Planned): void {
    const guest = this.#guests.get(instance);
    if (!guest || guest.run !== run || guest.node === undefined) return;
    const { node, attempt } = guest;
    const stream = `node-${node}`;
    if (what === 'ready')
      return this.#tell(event('GuestHealthy', { instance, node, attempt, probe: 'readiness' }), stream);
    if (what === 'exit') {
      const end = { exitCode: 0, signal: null, reason: 'exited' as const };
      return this.#tell(event('GuestExited', { instance, node, attempt, ...end }), stream);
    }
    this.#guests.delete(instance);
    this.#tell(event('GuestRemoved', { instance, node }), stream);
  }

  #settle(): number {
    let all = 0;
    for (let round = 0; round < roundsMax; round++) {
      const asked = this.#orchestrator.react(this.#now);
      for (const each of asked) this.#decided(each, this.#resources);
      const placed = this.#resources.react(this.#now);
      for (const each of placed) this.#decided(each, this.#orchestrator);
      all += asked.length + placed.length;
      const due = Math.min(this.#orchestrator.wakeAt ?? Infinity, this.#resources.wakeAt ?? Infinity);
      if (asked.length + placed.length === 0 && due > this.#now) return all;
    }
    throw restless(this.#options.name);
  }

  /** One of the policies has decided, and has taken it in; the other is told. */
  #decided(recorded: RecordedEvent, other: HypotheticalPolicy): void {
    const told = { ...recorded, position: ++this.#position } as SharedEvent;
    other.evolve([told]);
    this.#ledger.take(told);
    this.#tally.take(told);
    this.#act(told);
  }

  /** What node agents do about it. */
  #act(decided: SharedEvent): void {
    switch (decided.type) {
      case 'InstanceRequested': {
        const { instance, workload } = decided.data;
        this.#guests.set(instance, { workload, node: undefined, attempt: 0, run: 0 });
        return;
      }
      case 'InstancePlaced': {
        const guest = this.#guests.get(decided.data.instance);
        if (!guest) return;
        guest.node = decided.data.node;
        return this.#startGuest(decided.data.instance, guest);
      }
      case 'InstanceRestartOrdered': {
        const guest = this.#guests.get(decided.data.instance);
        return guest?.node === undefined ? undefined : this.#startGuest(decided.data.instance, guest);
      }
      case 'InstanceWithdrawn':
        return this.#end(decided.data.instance, decided.data.drainMs);
      case 'InstancePreempted':
        return this.#end(decided.data.instance, decided.data.graceMs);
    }
  }

  #startGuest(instance: string, guest: Guest): void {
    const node = guest.node!;
    const { workload } = guest;
    guest.attempt++;
    guest.run = ++this.#runs;
    const stream = `node-${node}`;
    const runtime = 'simulated';
    if (guest.attempt === 1) this.#tell(event('GuestCreated', { instance, node, runtime, handle: null }), stream);
    this.#tell(event('GuestStarted', { instance, node, runtime, attempt: guest.attempt }), stream);
    const start = this.#starts.get(workload) ?? 0;
    this.#starts.set(workload, start + 1);
    const life = this.#options.lives.get(workload);
    const plan = (what: Planned['what'], ms: number) =>
      this.#agenda.add(this.#now + ms, { instance, run: guest.run, what });
    if (life?.readyMs !== undefined) plan('ready', life.readyMs);
    const lastsMs = life?.lastsMs[start];
    if (lastsMs !== undefined) plan('exit', lastsMs);
  }

  #end(instance: string, afterMs: number): void {
    const guest = this.#guests.get(instance);
    if (guest?.node === undefined) this.#guests.delete(instance);
    else this.#agenda.add(this.#now + afterMs, { instance, run: guest.run, what: 'remove' });
  }

  #tell(told: NewEvent, stream: string): void {
    const recorded = { ...this.#resources.record(told, stream, this.#now), position: ++this.#position };
    this.#resources.evolve([recorded]);
    this.#orchestrator.evolve([recorded]);
    this.#ledger.take(recorded as SharedEvent);
    this.#tally.take(recorded as SharedEvent);
  }

  #sampleUpTo(time: number): void {
    while (this.#nextSample <= time && this.#series.length < 4 * samplesMax) {
      const { utilisation, pending, nodesInUse } = this.#ledger.measures;
      this.#series.push({ timeMs: this.#nextSample - this.#start, ...utilisation, pending, nodesInUse });
      this.#nextSample += Math.max(1, Math.floor((time - this.#nextSample) / this.#sampleMs)) * this.#sampleMs;
    }
  }
}
