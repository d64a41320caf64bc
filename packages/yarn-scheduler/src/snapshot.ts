import { clusterSnapshot } from '@cloudos/placement';
import type { PolicySnapshot } from '@cloudos/sdk';
import { Application } from './application.ts';
import type { YarnConfig } from './config.ts';
import type { Quota } from './queues/queue-tree.ts';
import { clusterOptions, YarnState } from './yarn-state.ts';

interface SavedYarn {
  readonly config: YarnConfig;
  readonly cluster: unknown;
  readonly dynamicQueues: readonly string[];
  readonly quotas: readonly Quota[];
  readonly stoppedOwners: readonly string[];
  readonly submitted: number;
  readonly preemptedAt: number;
  readonly time: number;
  readonly applications: readonly (readonly [
    name: string,
    user: string,
    owner: string | null,
    order: number,
    waitingSince: number,
    queue: string | null,
    rejection: Application['rejection'] | null,
  ])[];
  /** Applications that no queue takes, in their order, by index. */
  readonly turnedAway: readonly string[];
  readonly reservations: readonly (readonly [instance: string, slot: number])[];
}

/**
 * The cluster as the shared bookkeeping saves it, and what queues add. Sums are made again from it. What is shared with
 * the state (settings, quotas, reasons) is never changed in place.
 */
export const yarnSnapshot: PolicySnapshot<YarnState> = {
  version: 2,
  save,
  load: (saved) => load(saved as SavedYarn),
};

function save(state: YarnState): SavedYarn {
  const { config, cluster, tree, quotas, stoppedOwners, submitted, preemptedAt, time } = state;
  return {
    config,
    cluster: clusterSnapshot(clusterOptions(config)).save(cluster),
    dynamicQueues: [...tree.queues].filter(({ dynamic }) => dynamic).map(({ path }) => path),
    quotas: [...quotas.values()],
    stoppedOwners: [...stoppedOwners],
    submitted,
    preemptedAt,
    time,
    applications: [...state.applications.values()].map(
      ({ name, user, owner, order, waitingSince, queue, rejection }) =>
        [name, user, owner ?? null, order, waitingSince, queue?.path ?? null, rejection ?? null] as const,
    ),
    turnedAway: [...state.turnedAway].map(({ name }) => name),
    reservations: [...state.reservations].map(([record, slot]) => [record.id, slot] as const),
  };
}

function load(saved: SavedYarn): YarnState {
  const { config } = saved;
  const state = new YarnState(config, clusterSnapshot(clusterOptions(config)).load(saved.cluster));
  for (const path of saved.dynamicQueues) state.tree.make(path);
  for (const quota of saved.quotas) state.quotas.set(quota.owner, quota);
  for (const owner of saved.stoppedOwners) state.stoppedOwners.add(owner);
  Object.assign(state, { submitted: saved.submitted, preemptedAt: saved.preemptedAt, time: saved.time });
  for (const [name, user, owner, order, waitingSince, path, rejection] of saved.applications) {
    const application = new Application(name, user, owner ?? undefined, order);
    application.waitingSince = waitingSince;
    application.rejection = rejection ?? undefined;
    const queue = path === null ? undefined : state.tree.get(path);
    if (queue) state.enter(application, queue);
    if (queue && !rejection) queue.applications.add(application);
    state.applications.set(name, application);
  }
  for (const name of saved.turnedAway) state.turnedAway.add(state.applications.get(name)!);
  for (const record of state.cluster.instances.values()) {
    const application = state.applications.get(record.workload.name)!;
    application.instances.add(record);
    if (record.slot >= 0) state.charge(application, record, record.slot, 1);
  }
  for (const [instance, slot] of saved.reservations) state.reserve(state.cluster.instances.get(instance)!, slot);
  return state;
}
