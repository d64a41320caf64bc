import {
  type Application,
  accessible,
  applicationsMax,
  type Queue,
  runningIn,
  type YarnState,
} from '@cloudos/yarn-scheduler';
import { sums } from './cluster-documents.ts';
import { mebibytes, percent, vCores } from './units.ts';

/** `Cluster Scheduler API`, in the shape of the capacity scheduler. */
export function schedulerInfo(state: YarnState) {
  state.shares();
  const { root } = state.tree;
  return {
    scheduler: {
      schedulerInfo: {
        type: 'capacityScheduler',
        ...capacitiesOf(root, state),
        queueName: root.name,
        queuePath: root.path,
        queues: { queue: root.children.map((child) => queueInfo(child, state)) },
        health: { lastrun: Math.max(0, state.preemptedAt), operationsInfo: [], lastRunDetails: [] },
      },
    },
  };
}

function queueInfo(queue: Queue, state: YarnState): Record<string, unknown> {
  const [cpu, memory] = sums(queue.used);
  const common = {
    ...capacitiesOf(queue, state),
    queueName: queue.name,
    queuePath: queue.path,
    state: queue.stopped ? 'STOPPED' : 'RUNNING',
    numApplications: applicationsIn(queue),
    resourcesUsed: amount(cpu, memory),
    nodeLabels: state.tree.labels.filter((label) => label !== '' && accessible(queue, label)),
    orderingPolicy: queue.settings.schedulingPolicy ?? (queue.isLeaf ? 'fifo' : 'utilization'),
    priority: queue.settings.priority,
    preemptionDisabled: queue.settings.disablePreemption,
    hideReservationQueues: false,
    queueType: queue.isLeaf ? 'leaf' : 'parent',
    creationMethod: queue.dynamic ? 'dynamicFlexible' : 'static',
  };
  if (!queue.isLeaf) {
    return { ...common, queues: { queue: queue.children.map((child) => queueInfo(child, state)) } };
  }
  return { type: 'capacitySchedulerLeafQueueInfo', ...common, ...leafInfo(queue, state) };
}

function leafInfo(queue: Queue, state: YarnState) {
  const applications = [...queue.applications];
  const containers = applications.reduce((sum, { placed }) => sum + placed, 0);
  const pendingContainers = applications.reduce((sum, { instances, placed }) => sum + instances.size - placed, 0);
  const most = applicationsMax(queue, state.config);
  const { userLimitFactor, minimumUserLimitPercent, maximumAmResourcePercent } = queue.settings;
  return {
    numActiveApplications: runningIn(queue),
    numPendingApplications: applications.length - runningIn(queue),
    numContainers: containers,
    pendingContainers,
    maxApplications: most,
    maxApplicationsPerUser:
      userLimitFactor < 0 ? most : Math.floor((most * minimumUserLimitPercent * userLimitFactor) / 100),
    maxParallelApps: queue.settings.maxParallelApps ?? maxParallelAppsDefault,
    userLimit: minimumUserLimitPercent,
    userLimitFactor,
    configuredMaxAMResourceLimit: maximumAmResourcePercent ?? state.config.maximumAmResourcePercent,
    defaultPriority: 0,
    users: {
      user: [...queue.users.values()].map(({ name, used }) => {
        const [cpu, memory] = sums(used);
        const own = applications.filter(({ user }) => user === name);
        return {
          username: name,
          resourcesUsed: amount(cpu, memory),
          numActiveApplications: own.filter(runs).length,
          numPendingApplications: own.length - own.filter(runs).length,
          userWeight: queue.settings.userWeights[name] ?? 1,
        };
      }),
    },
  };
}

/** What the capacity scheduler reports where no limit is set (the largest int of Java). */
const maxParallelAppsDefault = 2_147_483_647;

const runs = ({ placed }: Application) => placed > 0;

/** Percentages of the default partition, and of each label under `capacities`. */
function capacitiesOf(queue: Queue, { tree }: YarnState) {
  const of = (partition: number) => {
    const own = queue.share[partition] ?? 0;
    const most = queue.shareMax[partition] ?? 0;
    const { parent } = queue;
    const used = usedShare(queue, partition, tree.root);
    return {
      capacity: percent(parent ? part(own, parent.share[partition] ?? 0) : 1),
      usedCapacity: percent(part(used, own)),
      maxCapacity: percent(parent ? part(most, parent.shareMax[partition] ?? 0) : 1),
      absoluteCapacity: percent(own),
      absoluteMaxCapacity: percent(most),
      absoluteUsedCapacity: percent(used),
    };
  };
  return {
    ...of(0),
    capacities: {
      queueCapacitiesByPartition: tree.labels.map((partitionName, partition) => ({ partitionName, ...of(partition) })),
    },
  };
}

/** The larger of the shares of the partition that the queue uses. */
function usedShare(queue: Queue, partition: number, root: Queue): number {
  const at = 2 * partition;
  return Math.max(part(queue.used[at]!, root.guaranteed[at]!), part(queue.used[at + 1]!, root.guaranteed[at + 1]!));
}

function part(amount: number, of: number): number {
  return of > 0 ? amount / of : 0;
}

function amount(cpu: number, memory: number) {
  return { memory: mebibytes(memory), vCores: vCores(cpu) };
}

function applicationsIn(queue: Queue): number {
  return queue.children.reduce((sum, child) => sum + applicationsIn(child), queue.applications.size);
}
