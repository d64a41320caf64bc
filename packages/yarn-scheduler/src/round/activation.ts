import type { Application } from '../application.ts';
import type { YarnConfig } from '../config.ts';
import { type Amount, addMaster, masterLimit, mastersUse, parallelLimit } from '../limits.ts';
import type { Queue } from '../queues/queue.ts';

export interface Obstacle {
  readonly constraint: string;
  readonly message: string;
}

/** No node can take it: the reasons are those of the nodes. */
export const atNodes: Obstacle = { constraint: 'nodes', message: '' };
/** There is a node, but not where it would rather be. */
export const localityObstacle: Obstacle = {
  constraint: 'locality',
  message: 'it waits a while for room near to what it wants to be with; there is room elsewhere',
};

/**
 * Which of the applications that wait may run: those that run already; then, in the order of submission, as many as
 * `max-parallel-apps` and the share of application masters let in. Hadoop documentation, "Capacity Scheduler",
 * "Running and Pending Application Limits": maximum-applications (checked at submission), then the number of parallel
 * applications, then the share of masters. One application runs in each queue whatever its master takes.
 */
export class Activation {
  readonly #config: YarnConfig;
  readonly #totals: Float64Array;
  readonly #started = new Map<Queue, number>();
  readonly #masters = new Map<Queue, [number, number]>();

  constructor(config: YarnConfig, totals: Float64Array) {
    this.#config = config;
    this.#totals = totals;
  }

  /** Why the application may not run now. Ask in the order of submission. */
  obstacle(application: Application): Obstacle | undefined {
    if (application.rejection) return application.rejection;
    const queue = application.queue!;
    if (application.placed > 0) return undefined;
    const full = parallelLimit(queue, this.#started);
    if (full) {
      const most = full.settings.maxParallelApps;
      const message = `queue ${full.path} runs ${most} applications, as many as it may at once`;
      return { constraint: 'parallel applications', message };
    }
    const crowded = this.#masterObstacle(application, queue);
    if (crowded) return crowded;
    for (let at: Queue | undefined = queue; at; at = at.parent) this.#started.set(at, (this.#started.get(at) ?? 0) + 1);
    return undefined;
  }

  #masterObstacle(application: Application, queue: Queue): Obstacle | undefined {
    if (this.#config.applicationMaster !== 'first-instance') return undefined;
    let used = this.#masters.get(queue);
    if (!used) {
      used = mastersUse(queue);
      this.#masters.set(queue, used);
    }
    const runs = queue.running + (this.#started.get(queue) ?? 0);
    const next: [number, number] = [used[0], used[1]];
    addMaster(next, application);
    const limit = masterLimit(queue, this.#config, this.#totals);
    if (runs > 0 && exceeds(next, limit, this.#config)) {
      const message = `application masters use their share of queue ${queue.path} (${describe(limit)})`;
      return { constraint: 'application master share', message };
    }
    used[0] = next[0];
    used[1] = next[1];
    return undefined;
  }
}

function exceeds(next: Amount, limit: Amount, { resourceCalculator }: YarnConfig): boolean {
  return next[1] > limit[1] || (resourceCalculator === 'dominant' && next[0] > limit[0]);
}

function describe([cpu, memory]: Amount): string {
  return `${Math.round(cpu)}m cpu, ${Math.round(memory / 1024 ** 2)} MiB memory`;
}
