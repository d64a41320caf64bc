import {
  type EventData,
  event,
  type NewEvent,
  type ResourceVector,
  type SharedEventType,
  type WorkloadSpec,
} from '@cloudos/sdk';

/**
 * Builders of shared events for given/when/then. Each fills in what a test does not care about;
 * as an expectation only what was handed to the builder is compared.
 */

const explicit = Symbol.for('cloudos.testing.explicit');

const mebibyte = 1024 * 1024;
const gibibyte = 1024 * mebibyte;

type Some<Type extends SharedEventType> = Partial<EventData<Type>>;

function build<Type extends SharedEventType>(
  type: Type,
  defaults: EventData<Type>,
  said: Some<Type>,
): NewEvent<Type, EventData<Type>> {
  const built = event(type, { ...defaults, ...said });
  Object.defineProperty(built, explicit, { value: said });
  return built;
}

/** What of an event an expectation is about: the arguments of its builder, or all of its data. */
export function expectedData(expected: NewEvent): unknown {
  return (expected as { [explicit]?: unknown })[explicit] ?? expected.data;
}

/** The same event at a time (epoch ms of the virtual clock); it never makes the clock go back. */
export function atTime<Type extends string, Data>(time: number, of: NewEvent<Type, Data>): NewEvent<Type, Data> {
  return { ...of, time };
}

/** A resource vector with zero where nothing is said. */
export function resources(some: Partial<ResourceVector> = {}): ResourceVector {
  return { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0, ...some };
}

/** A node of 4 cores, 8 GiB, 100 GiB of disk and 10,000 pids with the runtime `zones`, unless said otherwise. */
export function nodeJoined(
  node: string,
  capacity: Partial<ResourceVector> = {},
  some: Omit<Some<'NodeJoined'>, 'node' | 'capacity'> = {},
) {
  const usual = { cpuMillis: 4000, memoryBytes: 8 * gibibyte, diskBytes: 100 * gibibyte, pids: 10_000 };
  const runtimes = [{ name: 'zones', version: '1.0.0', features: {} }];
  return build(
    'NodeJoined',
    { node, capacity: { ...usual, ...capacity }, attributes: {}, runtimes },
    { node, capacity: { ...usual, ...capacity }, ...some },
  );
}

export function nodeLost(node: string, some: Some<'NodeLost'> = {}) {
  return build('NodeLost', { node, reason: 'no answer' }, { node, ...some });
}

export function nodeLeft(node: string, some: Some<'NodeLeft'> = {}) {
  return build('NodeLeft', { node, reason: 'taken out' }, { node, ...some });
}

export function nodeCordoned(node: string, some: Some<'NodeCordoned'> = {}) {
  return build('NodeCordoned', { node, reason: '' }, { node, ...some });
}

export function nodeUncordoned(node: string) {
  return build('NodeUncordoned', { node }, { node });
}

export function nodeDrained(node: string) {
  return build('NodeDrained', { node }, { node });
}

type RequestOptions = Partial<ResourceVector> & Omit<Some<'InstanceRequested'>, 'instance' | 'requests'>;

/** Resources and the rest of the request side by side: `instanceRequested('a', { cpuMillis: 500, priority: 200 })`. */
export function instanceRequested(instance: string, some: RequestOptions = {}) {
  const { cpuMillis, memoryBytes, diskBytes, pids, custom, ...rest } = some;
  const asked = { cpuMillis, memoryBytes, diskBytes, pids, custom };
  const stated = Object.fromEntries(Object.entries(asked).filter(([, amount]) => amount !== undefined));
  const requests = resources(stated);
  return build(
    'InstanceRequested',
    { instance, workload: 'default/test', revision: 1, requests, priority: 100 },
    { instance, ...rest, ...(Object.keys(stated).length > 0 && { requests }) },
  );
}

export function instanceWithdrawn(instance: string, some: Some<'InstanceWithdrawn'> = {}) {
  return build(
    'InstanceWithdrawn',
    { instance, reason: 'not wanted', drainMs: 0, graceMs: 30_000 },
    { instance, ...some },
  );
}

export function instanceRestartOrdered(instance: string, some: Some<'InstanceRestartOrdered'> = {}) {
  return build('InstanceRestartOrdered', { instance, attempt: 2, reason: 'exited' }, { instance, ...some });
}

export function instancePlaced(instance: string, node: string, some: Some<'InstancePlaced'> = {}) {
  return build('InstancePlaced', { instance, node }, { instance, node, ...some });
}

export function instanceUnplaceable(instance: string, some: Some<'InstanceUnplaceable'> = {}) {
  return build('InstanceUnplaceable', { instance, reasons: [] }, { instance, ...some });
}

export function instancePreempted(instance: string, some: Some<'InstancePreempted'> = {}) {
  return build(
    'InstancePreempted',
    { instance, node: 'n1', reason: 'preempted', graceMs: 30_000 },
    { instance, ...some },
  );
}

export function guestCreated(instance: string, node = 'n1', some: Some<'GuestCreated'> = {}) {
  return build('GuestCreated', { instance, node, runtime: 'zones', handle: { instance } }, { instance, node, ...some });
}

/** Runs at 10.0.0.1 unless an address is given. */
export function guestStarted(instance: string, node = 'n1', some: Some<'GuestStarted'> = {}) {
  return build(
    'GuestStarted',
    { instance, node, runtime: 'zones', attempt: 1, address: { host: '10.0.0.1' } },
    { instance, node, ...some },
  );
}

export function guestHealthy(instance: string, node = 'n1', some: Some<'GuestHealthy'> = {}) {
  return build('GuestHealthy', { instance, node, attempt: 1, probe: 'readiness' }, { instance, node, ...some });
}

export function guestUnhealthy(instance: string, node = 'n1', some: Some<'GuestUnhealthy'> = {}) {
  return build(
    'GuestUnhealthy',
    { instance, node, attempt: 1, probe: 'readiness', reason: 'probe failed' },
    { instance, node, ...some },
  );
}

/** Ended by itself with exit code 1 unless said otherwise. */
export function guestExited(instance: string, node = 'n1', some: Some<'GuestExited'> = {}) {
  return build(
    'GuestExited',
    { instance, node, attempt: 1, exitCode: 1, signal: null, reason: 'exited' },
    { instance, node, ...some },
  );
}

export function guestFailed(instance: string, node = 'n1', some: Some<'GuestFailed'> = {}) {
  return build(
    'GuestFailed',
    { instance, node, attempt: 1, stage: 'start', code: 'GUEST_START_FAILED', reason: 'failed' },
    { instance, node, ...some },
  );
}

export function guestRemoved(instance: string, node = 'n1') {
  return build('GuestRemoved', { instance, node }, { instance, node });
}

/** A specification with one replica of `host:` and no resources, unless said otherwise. */
export function workload(name: string, some: Partial<WorkloadSpec> = {}): WorkloadSpec {
  const { template, ...rest } = some;
  return {
    workload: name,
    kind: 'Deployment',
    revision: 1,
    replicas: 1,
    template: template ?? {
      image: 'host:',
      env: [],
      ports: [],
      requests: resources(),
      limits: resources(),
      restart: 'always',
      stopGraceMs: 30_000,
      readOnlyRoot: false,
      labels: { app: name.slice(name.indexOf('/') + 1) },
    },
    strategy: { kind: 'rolling', maxSurge: 1, maxUnavailable: 0 },
    priority: 100,
    constraints: [],
    minReadyMs: 0,
    progressDeadlineMs: 600_000,
    labels: {},
    ...rest,
  };
}

export function workloadDeclared(name: string, some: Partial<WorkloadSpec> = {}) {
  return build('WorkloadDeclared', workload(name, some), { workload: name, ...some });
}

export function workloadChanged(name: string, some: Partial<WorkloadSpec> = {}) {
  return build('WorkloadChanged', workload(name, some), { workload: name, ...some });
}

export function workloadRemoved(name: string) {
  return build('WorkloadRemoved', { workload: name }, { workload: name });
}

/** Port 80 to 8080, selecting `app: <name>`, unless said otherwise. */
export function serviceDeclared(service: string, some: Some<'ServiceDeclared'> = {}) {
  return build(
    'ServiceDeclared',
    {
      service,
      selector: { app: service.slice(service.indexOf('/') + 1) },
      ports: [{ port: 80, targetPort: 8080, protocol: 'tcp' }],
    },
    { service, ...some },
  );
}

export function serviceRemoved(service: string) {
  return build('ServiceRemoved', { service }, { service });
}

export function serviceEndpointsChanged(service: string, some: Some<'ServiceEndpointsChanged'> = {}) {
  return build('ServiceEndpointsChanged', { service, endpoints: [] }, { service, ...some });
}

export function rolloutAdvanced(name: string, some: Some<'RolloutAdvanced'> = {}) {
  return build(
    'RolloutAdvanced',
    { workload: name, revision: 1, phase: 'progressing', updated: 0, ready: 0, wanted: 1 },
    { workload: name, ...some },
  );
}
