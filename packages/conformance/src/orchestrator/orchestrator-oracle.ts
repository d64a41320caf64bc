import type { Endpoint, SharedEvent, WorkloadSpec } from '@cloudos/sdk';

export interface KnownInstance {
  readonly id: string;
  readonly workload: string;
  readonly revision: number;
  node: string | undefined;
  attempt: number;
  running: boolean;
  ready: boolean;
  /** Withdrawn or preempted, and not yet removed. */
  stopping: boolean;
}

/**
 * What the log says about instances, told apart from the policy under test, and the promises that every single
 * decision of an orchestrator must keep. A broken one is kept in `violations`.
 */
export class OrchestratorOracle {
  readonly workloads = new Map<string, WorkloadSpec>();
  readonly services = new Map<string, readonly Endpoint[]>();
  /** Requested and not gone. */
  readonly instances = new Map<string, KnownInstance>();
  readonly violations: string[] = [];
  readonly #requested = new Set<string>();

  /** Wanted instances of a workload: neither stopping nor gone. */
  of(workload: string): KnownInstance[] {
    return [...this.instances.values()].filter((one) => one.workload === workload && !one.stopping);
  }

  take(event: SharedEvent): void {
    switch (event.type) {
      case 'WorkloadDeclared':
      case 'WorkloadChanged':
        this.workloads.set(event.data.workload, event.data);
        break;
      case 'WorkloadRemoved':
        this.workloads.delete(event.data.workload);
        break;
      case 'ServiceDeclared':
        if (!this.services.has(event.data.service)) this.services.set(event.data.service, []);
        break;
      case 'ServiceRemoved':
        this.services.delete(event.data.service);
        break;
      case 'InstanceRequested':
        this.#onRequested(event.data);
        break;
      case 'InstanceWithdrawn':
        this.#onWithdrawn(event.data.instance);
        break;
      case 'ServiceEndpointsChanged':
        this.#onEndpoints(event.data.service, event.data.endpoints);
        break;
      default:
        this.#takeOfInstance(event);
    }
  }

  #takeOfInstance(event: SharedEvent): void {
    if (event.type === 'NodeLost' || event.type === 'NodeLeft') {
      for (const one of this.instances.values()) if (one.node === event.data.node) this.instances.delete(one.id);
      return;
    }
    const data = event.data as { instance?: string; node?: string; attempt?: number; probe?: string };
    const one = this.instances.get(data.instance ?? '');
    if (!one) return;
    switch (event.type) {
      case 'InstancePlaced':
        one.node = event.data.node;
        break;
      case 'InstancePreempted':
        one.stopping = true;
        break;
      case 'InstanceRestartOrdered':
        if (event.data.attempt <= one.attempt) this.#broken(`${one.id}: attempt ${event.data.attempt} ordered again`);
        one.attempt = event.data.attempt;
        one.running = one.ready = false;
        break;
      case 'GuestStarted':
        one.attempt = event.data.attempt;
        one.running = true;
        break;
      case 'GuestHealthy':
        if (event.data.probe === 'readiness') one.ready = one.running;
        break;
      case 'GuestUnhealthy':
        one.ready = false;
        break;
      case 'GuestExited':
        one.running = one.ready = false;
        break;
      case 'GuestRemoved':
        this.instances.delete(one.id);
        break;
    }
  }

  #onRequested({ instance, workload, revision }: { instance: string; workload: string; revision: number }): void {
    if (this.#requested.has(instance)) this.#broken(`${instance} was requested before`);
    this.#requested.add(instance);
    const spec = this.workloads.get(workload);
    if (!spec) this.#broken(`${instance} is requested for ${workload}, which is not declared`);
    const known = { attempt: 0, running: false, ready: false, stopping: false, node: undefined };
    this.instances.set(instance, { id: instance, workload, revision, ...known });
    const surge = spec?.strategy.kind === 'rolling' ? spec.strategy.maxSurge : 0;
    const count = this.of(workload).length;
    if (spec && count > spec.replicas + surge) {
      this.#broken(`${workload}: ${count} instances, wanted ${spec.replicas} and a surge of ${surge}`);
    }
  }

  #onWithdrawn(id: string): void {
    const one = this.instances.get(id);
    if (!one) return;
    for (const [service, endpoints] of this.services) {
      if (endpoints.some(({ instance }) => instance === id)) this.#broken(`${id} is withdrawn while behind ${service}`);
    }
    one.stopping = true;
    const spec = this.workloads.get(one.workload);
    if (!one.ready || spec?.strategy.kind !== 'rolling') return;
    const least = spec.replicas - spec.strategy.maxUnavailable;
    const ready = this.of(one.workload).filter((other) => other.ready).length;
    if (ready < least) this.#broken(`${id} is withdrawn: ${ready} ready ones are left, at least ${least} must be`);
  }

  #onEndpoints(service: string, endpoints: readonly Endpoint[]): void {
    if (!this.services.has(service)) this.#broken(`endpoints of ${service}, which is not declared`);
    if (JSON.stringify(this.services.get(service)) === JSON.stringify(endpoints)) {
      this.#broken(`the endpoints of ${service} are told again without a change`);
    }
    for (const { instance } of endpoints) {
      const one = this.instances.get(instance);
      if (!one?.ready || one.stopping) this.#broken(`${instance} is behind ${service} and not ready`);
    }
    this.services.set(service, endpoints);
  }

  #broken(promise: string): void {
    this.violations.push(promise);
  }
}
