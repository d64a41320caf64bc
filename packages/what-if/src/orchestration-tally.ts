import type { SharedEvent } from '@cloudos/sdk';

/** What an orchestrator has done. */
export interface OrchestrationMeasures {
  readonly requested: number;
  readonly withdrawn: number;
  readonly restarts: number;
  /** Updates that went through, the first of a workload included. */
  readonly rollouts: number;
  /** From the declaration until it had gone through, of the slowest of them. */
  readonly slowestRolloutMs: number;
}

/** Counts what an orchestrator does, really or in a simulation, by its events. */
export class OrchestrationTally {
  readonly #from: number;
  readonly #declaredAt = new Map<string, number>();
  readonly #counts = { requested: 0, withdrawn: 0, restarts: 0, rollouts: 0, slowestRolloutMs: 0 };

  /** @param from counting begins then (epoch ms); what was before is only taken in */
  constructor(from = 0) {
    this.#from = from;
  }

  take(event: SharedEvent): void {
    switch (event.type) {
      case 'WorkloadDeclared':
      case 'WorkloadChanged':
        this.#declaredAt.set(revisionOf(event.data), Math.max(event.time, this.#from));
        return;
      case 'RolloutAdvanced': {
        const declaredAt = this.#declaredAt.get(revisionOf(event.data));
        if (event.data.phase !== 'complete' || declaredAt === undefined) return;
        this.#declaredAt.delete(revisionOf(event.data));
        if (event.time < this.#from) return;
        this.#counts.rollouts++;
        this.#counts.slowestRolloutMs = Math.max(this.#counts.slowestRolloutMs, event.time - declaredAt);
        return;
      }
    }
    if (event.time < this.#from) return;
    if (event.type === 'InstanceRequested') this.#counts.requested++;
    else if (event.type === 'InstanceWithdrawn') this.#counts.withdrawn++;
    else if (event.type === 'InstanceRestartOrdered') this.#counts.restarts++;
  }

  get measures(): OrchestrationMeasures {
    return { ...this.#counts };
  }
}

function revisionOf({ workload, revision }: { readonly workload: string; readonly revision: number }): string {
  return `${workload} ${revision}`;
}
