import type { ApplicationRecord, ResourceManager } from './resource-manager.ts';
import { mebibytes, percent, vCores } from './units.ts';

const finished = ['FINISHED', 'FAILED', 'KILLED'];

/** `Cluster Applications API`: those that the query asks for, in the order of submission. */
export function applicationList(manager: ResourceManager, query: URLSearchParams, now: number) {
  const records = [...manager.applications.values()].sort((one, other) => one.order - other.order);
  const app = records.map((record) => applicationInfo(manager, record, now)).filter((info) => asked(info, query));
  const limit = Number(query.get('limit') ?? app.length);
  return { apps: app.length === 0 ? null : { app: app.slice(0, limit) } };
}

export type ApplicationInfo = ReturnType<typeof applicationInfo>;

/** One application. A workload has no tracking page and no attempts that it could be told of. */
export function applicationInfo(manager: ResourceManager, record: ApplicationRecord, now: number) {
  manager.account(record, now);
  const { application } = record;
  const containers = application?.placed ?? 0;
  const ended = record.application === undefined;
  const [cpu, memory] = [application?.cpu ?? 0, application?.memory ?? 0];
  return {
    id: record.id,
    user: record.user,
    name: record.name,
    queue: record.queue,
    state: stateOf(record),
    finalStatus: ended ? 'SUCCEEDED' : 'UNDEFINED',
    progress: ended ? 100 : 0,
    trackingUI: ended ? 'History' : 'UNASSIGNED',
    diagnostics: application?.rejection?.message ?? '',
    clusterId: manager.startedAt,
    applicationType: 'CLOUDOS',
    applicationTags: record.tags.join(','),
    priority: priorityOf(record),
    startedTime: record.startedTime,
    launchTime: record.launchTime,
    finishedTime: record.finishedTime,
    elapsedTime: (ended ? record.finishedTime : now) - record.startedTime,
    allocatedMB: containers === 0 ? -1 : mebibytes(memory),
    allocatedVCores: containers === 0 ? -1 : vCores(cpu),
    reservedMB: reserved(manager, record).memory,
    reservedVCores: reserved(manager, record).cores,
    runningContainers: containers === 0 ? -1 : containers,
    memorySeconds: Math.round(record.memoryByteSeconds / 1024 ** 2),
    vcoreSeconds: Math.round(record.cpuMilliSeconds / 1_000),
    queueUsagePercentage: usage(manager, record, 'queue'),
    clusterUsagePercentage: usage(manager, record, 'cluster'),
    preemptedResourceMB: mebibytes(record.preemptedMemoryBytes),
    preemptedResourceVCores: vCores(record.preemptedCpuMillis),
    numNonAMContainerPreempted: record.preempted,
    numAMContainerPreempted: 0,
    unmanagedApplication: manager.state.config.applicationMaster === 'unmanaged',
  };
}

/** An application that no queue takes, or that has nothing placed, has been accepted; a workload never fails. */
function stateOf({ application }: ApplicationRecord): 'ACCEPTED' | 'RUNNING' | 'FINISHED' | 'SUBMITTED' {
  if (!application) return 'FINISHED';
  if (application.rejection) return 'SUBMITTED';
  return application.placed > 0 ? 'RUNNING' : 'ACCEPTED';
}

function priorityOf({ application }: ApplicationRecord): number {
  let priority = 0;
  for (const record of application?.instances ?? []) priority = Math.max(priority, record.priority);
  return priority;
}

function reserved({ state }: ResourceManager, { application }: ApplicationRecord) {
  let [cpu, memory] = [0, 0];
  for (const record of state.reservations.keys()) {
    if (!application?.instances.has(record)) continue;
    cpu += record.shape.cpu;
    memory += record.shape.memory;
  }
  return { cores: vCores(cpu), memory: mebibytes(memory) };
}

function usage({ state }: ResourceManager, { application }: ApplicationRecord, of: 'queue' | 'cluster'): number {
  if (!application?.queue) return 0;
  const { guaranteed } = of === 'queue' ? application.queue : state.tree.root;
  const [cpu, memory] = [guaranteed[0]!, guaranteed[1]!];
  return percent(Math.max(cpu > 0 ? application.cpu / cpu : 0, memory > 0 ? application.memory / memory : 0));
}

/** The filters of the documented query parameters. */
function asked(info: ApplicationInfo, query: URLSearchParams): boolean {
  const list = (name: string) =>
    query
      .getAll(name)
      .flatMap((value) => value.split(','))
      .filter((value) => value !== '');
  const within = (name: string, value: number) =>
    value >= Number(query.get(`${name}Begin`) ?? 0) &&
    value <= Number(query.get(`${name}End`) ?? Number.MAX_SAFE_INTEGER);
  const oneOf = (name: string, value: string) => {
    const wanted = list(name).map((each) => each.toLowerCase());
    return wanted.length === 0 || wanted.includes(value.toLowerCase());
  };
  const queue = list('queue');
  return (
    oneOf('states', info.state) &&
    oneOf('state', info.state) &&
    oneOf('finalStatus', info.finalStatus) &&
    oneOf('user', info.user) &&
    oneOf('applicationTypes', info.applicationType) &&
    (queue.length === 0 || queue.some((name) => info.queue === name || info.queue.endsWith(`.${name}`))) &&
    (list('applicationTags').length === 0 ||
      list('applicationTags').some((tag) => info.applicationTags.split(',').includes(tag))) &&
    within('startedTime', info.startedTime) &&
    (!finished.includes(info.state) || within('finishedTime', info.finishedTime))
  );
}
