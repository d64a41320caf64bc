import {
  type EventData,
  event,
  isRefusal,
  type NewEvent,
  type OrchestratorCommand,
  type PluginDefinition,
  type Policy,
  type RecordedEvent,
  type Refusal,
  type SharedEvent,
} from '@cloudos/sdk';
import { pluginContext } from '../plugin-context.ts';
import { recordedAt } from '../recorded.ts';
import { type KnownInstance, OrchestratorOracle } from './orchestrator-oracle.ts';

export type OrchestratorPolicy = Policy<unknown, OrchestratorCommand>;

/** Calls of `react` in a row that may each decide something; past it, a policy does not come to rest. */
const roundsMax = 1_000;
/** Turns of the simulated nodes within which everything must be as it is wanted. */
const turnsMax = 1_000;

/** A log in memory, the policy under test over it, nodes that do as they are told, and an oracle over all decisions. */
export class OrchestratorHarness {
  readonly log: RecordedEvent[] = [];
  readonly oracle = new OrchestratorOracle();
  readonly policy: OrchestratorPolicy;
  state: unknown;
  /** Epoch milliseconds. */
  now = 1_700_000_000_000;
  wakeAt: number | undefined;
  #placed = 0;

  constructor(policy: OrchestratorPolicy) {
    this.policy = policy;
    this.state = policy.initial();
  }

  /** Appends events of others and lets the policy react until it rests. Returns what it decided. */
  give(...events: NewEvent[]): RecordedEvent[] {
    for (const of of events) this.#record(of, 'others');
    return this.settle();
  }

  settle(): RecordedEvent[] {
    const decided: RecordedEvent[] = [];
    for (let round = 0; round < roundsMax; round++) {
      const { events, wakeAt } = this.policy.react(this.state, [], this.now);
      this.wakeAt = wakeAt;
      decided.push(...events.map((of) => this.#record(of, 'orchestrator')));
      if (events.length === 0 && (wakeAt === undefined || wakeAt > this.now)) return decided;
    }
    throw new Error(`the policy does not come to rest: it still decides after ${roundsMax} calls of react`);
  }

  /** Lets time pass, waking the policy whenever it asked for it. */
  passTo(time: number): RecordedEvent[] {
    const decided: RecordedEvent[] = [];
    while (this.wakeAt !== undefined && this.wakeAt <= time) {
      this.now = Math.max(this.now, this.wakeAt);
      decided.push(...this.settle());
    }
    this.now = time;
    return decided;
  }

  command(command: OrchestratorCommand): { decided: RecordedEvent[]; refused: Refusal['refused'] | undefined } {
    const answer = this.policy.decide(this.state, command, this.now);
    if (isRefusal(answer)) return { decided: [], refused: answer.refused };
    const own = answer.events.map((of) => this.#record(of, 'orchestrator'));
    return { decided: [...own, ...this.settle()], refused: undefined };
  }

  /** A command that must be taken. */
  must(command: OrchestratorCommand): RecordedEvent[] {
    const { decided, refused } = this.command(command);
    if (refused) throw new Error(`${command.type} was refused: ${refused.code}: ${refused.message}`);
    return decided;
  }

  /** The next thing that the nodes do for the instance, if there is any. */
  advance(one: KnownInstance): NewEvent | undefined {
    const { id: instance, attempt } = one;
    if (one.stopping) {
      if (one.node !== undefined) return event('GuestRemoved', { instance, node: one.node });
      this.oracle.instances.delete(instance);
      return undefined;
    }
    if (one.node === undefined) return event('InstancePlaced', { instance, node: `n${this.#placed++ % 3}` });
    const { node } = one;
    const address = { host: `10.0.0.${this.#placed % 200}` };
    if (!one.running && (attempt === 0 || this.#isOrdered(one))) {
      return event('GuestStarted', { instance, node, runtime: 'zones', attempt: Math.max(1, attempt), address });
    }
    if (one.running && !one.ready) return event('GuestHealthy', { instance, node, attempt, probe: 'readiness' });
    return undefined;
  }

  #isOrdered(one: KnownInstance): boolean {
    const last = this.log.findLast((of) => {
      const about = (of.data as { instance?: string }).instance === one.id;
      return about && (of.type === 'GuestExited' || of.type === 'InstanceRestartOrdered');
    });
    return last?.type === 'InstanceRestartOrdered';
  }

  /** The nodes do all there is to do, and time passes, until nothing changes any more. */
  converge(): void {
    for (let turn = 0; turn < turnsMax; turn++) {
      let moved = false;
      for (const one of [...this.oracle.instances.values()]) {
        const next = this.advance(one);
        if (!next) continue;
        moved = true;
        this.give(next);
      }
      if (moved) continue;
      if (this.#isSettled() || this.wakeAt === undefined) return;
      this.passTo(this.wakeAt);
    }
    throw new Error(`nothing settled within ${turnsMax} turns`);
  }

  #isSettled(): boolean {
    const all = [...this.oracle.instances.values()];
    return all.every((one) => one.ready) && this.unmet().length === 0;
  }

  /** What is not as it is wanted, in words. */
  unmet(): string[] {
    const unmet: string[] = [];
    for (const { workload, replicas, revision } of this.oracle.workloads.values()) {
      const there = this.oracle.of(workload);
      if (there.length !== replicas) unmet.push(`${workload}: ${there.length} instances, wanted ${replicas}`);
      const old = there.filter((one) => one.revision !== revision);
      if (old.length > 0) unmet.push(`${workload}: ${old.length} instances of older revisions`);
    }
    const strays = [...this.oracle.instances.values()].filter((one) => !this.oracle.workloads.has(one.workload));
    if (strays.length > 0) unmet.push(`${strays.length} instances of removed workloads`);
    for (const [service, endpoints] of this.oracle.services) {
      const ready = [...this.oracle.instances.values()].filter((one) => one.ready && !one.stopping);
      if (endpoints.length !== ready.length) {
        unmet.push(`${service}: ${endpoints.length} endpoints, ${ready.length} ready instances`);
      }
    }
    return unmet;
  }

  /** A state made from the log so far. */
  replay(policy: OrchestratorPolicy, from: unknown = policy.initial(), start = 0, end = this.log.length): unknown {
    let state = from;
    for (const of of this.log.slice(start, end)) state = policy.evolve(state, of as SharedEvent);
    return state;
  }

  #record(of: NewEvent, stream: string): RecordedEvent {
    const recorded = recordedAt(this.log.length, of, stream, this.now);
    this.log.push(recorded);
    this.oracle.take(recorded as SharedEvent);
    this.state = this.policy.evolve(this.state, recorded as SharedEvent);
    return recorded;
  }
}

/** The policy of a plugin, made as a kernel makes it. */
export async function orchestratorPolicy<Config>(
  plugin: PluginDefinition<'orchestrator', Config>,
  config: unknown,
): Promise<OrchestratorPolicy> {
  const context = await pluginContext();
  const policy = await plugin.create(context, plugin.config.parse(config ?? {}));
  await context.scope.close();
  return policy;
}

export function instancesIn(decided: readonly RecordedEvent[], type: string): string[] {
  return decided.filter((of) => of.type === type).map((of) => (of.data as { instance: string }).instance);
}

/** A workload as another orchestrator declared it. */
export function foreignWorkload(workload: string, replicas: number): EventData<'WorkloadDeclared'> {
  const none = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
  return {
    workload,
    kind: 'Foreign',
    revision: 1,
    replicas,
    template: {
      image: 'host:',
      env: [],
      ports: [],
      requests: none,
      limits: none,
      restart: 'always',
      stopGraceMs: 1_000,
      readOnlyRoot: false,
      labels: {},
      readiness: {
        check: { kind: 'tcp', port: 8080 },
        initialDelayMs: 0,
        periodMs: 1_000,
        timeoutMs: 1_000,
        successThreshold: 1,
        failureThreshold: 1,
      },
    },
    strategy: { kind: 'rolling', maxSurge: 1, maxUnavailable: 0 },
    priority: 100,
    constraints: [],
    minReadyMs: 0,
    progressDeadlineMs: 600_000,
    labels: {},
  };
}
