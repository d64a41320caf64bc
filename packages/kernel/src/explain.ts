import { CloudosError, type EventLog, type Explanation, type ExplanationStep, type SharedEvent } from '@cloudos/sdk';
import type { ClusterState } from './cluster/cluster-state.ts';
import { instanceState } from './cluster/cluster-view.ts';

/** Steps of one explanation; the oldest are left out beyond that. */
const stepsMax = 200;

/**
 * Why an instance, a workload, a service or a node is as it is: the events about it that the log keeps, in order, in
 * words.
 * @throws CloudosError INSTANCE_NOT_FOUND when no event is about that name
 */
export async function explain(
  log: Pick<EventLog, 'read' | 'first'>,
  cluster: ClusterState,
  subject: string,
): Promise<Explanation> {
  const names = new Set([subject, subject.includes('/') ? subject : `default/${subject}`]);
  const steps: ExplanationStep[] = [];
  for await (const batch of log.read({ from: log.first() })) {
    for (const event of batch as readonly SharedEvent[]) {
      if (!concerns(event, names)) continue;
      steps.push(step(event));
      if (steps.length > stepsMax) steps.shift();
    }
  }
  const isKnown = [...names].some((name) => cluster.instances.has(name) || cluster.nodes.has(name));
  if (steps.length === 0 && !isKnown) {
    const where = log.first() === 0 ? 'in the log' : `in the log, which begins at position ${log.first()},`;
    throw new CloudosError('INSTANCE_NOT_FOUND', `no event ${where} is about ${subject}`);
  }
  return { subject, summary: summary(cluster, subject, steps), steps };
}

function concerns({ data }: SharedEvent, names: ReadonlySet<string>): boolean {
  const { instance, workload, service, node } = data as Record<string, unknown>;
  if (typeof instance === 'string') return names.has(instance);
  return [workload, service, node].some((name) => typeof name === 'string' && names.has(name));
}

function step(event: SharedEvent): ExplanationStep {
  const { position, time, stream, type, meta } = event;
  return { position, time, stream, type, by: meta.producer.plugin, text: inWords(event) };
}

/** One event as a sentence. */
export function inWords({ type, data }: SharedEvent): string {
  switch (type) {
    case 'InstanceRequested':
      return `wanted as one of ${data.workload}, revision ${data.revision}: ${data.requests.cpuMillis}m cpu, ${mebi(data.requests.memoryBytes)} memory, priority ${data.priority}`;
    case 'InstancePlaced':
      return `placed on ${data.node}${data.score === undefined ? '' : ` (score ${data.score.toFixed(3)})`}`;
    case 'InstanceUnplaceable':
      return `no node can take it: ${data.reasons.map(({ message }) => message).join('; ')}`;
    case 'InstancePreempted':
      return `lost its place on ${data.node}: ${data.reason}${data.by ? `, for ${data.by}` : ''}`;
    case 'InstanceWithdrawn':
      return `not wanted any more: ${data.reason}`;
    case 'InstanceRestartOrdered':
      return `to be started again (run ${data.attempt}): ${data.reason}`;
    case 'GuestCreated':
      return `guest made on ${data.node} by ${data.runtime}`;
    case 'GuestStarted':
      return `running on ${data.node}${data.address ? ` at ${data.address.host}` : ''} (run ${data.attempt})`;
    case 'GuestHealthy':
      return `${data.probe} probe succeeds`;
    case 'GuestUnhealthy':
      if (data.code === undefined) return `${data.probe} probe fails: ${data.reason}`;
      return `cannot go on: ${data.reason}${data.remedy ? ` — ${data.remedy}` : ''}`;
    case 'GuestExited':
      return `ended (${data.reason}${data.exitCode === null ? '' : `, exit code ${data.exitCode}`}${data.signal ? `, ${data.signal}` : ''})${data.message ? `: ${data.message}` : ''}`;
    case 'GuestContainerExited':
      return `container ${data.container} ended (${data.reason}${data.exitCode === null ? '' : `, exit code ${data.exitCode}`}${data.signal ? `, ${data.signal}` : ''})${data.message ? `: ${data.message}` : ''}; ${data.backOffMs === undefined ? 'it is not run again' : `again in ${data.backOffMs / 1000} s`}`;
    case 'GuestContainerStarted':
      return `container ${data.container} runs again (restart ${data.restarts})`;
    case 'GuestFailed':
      return `could not ${data.stage} it: ${data.reason}${data.remedy ? ` — ${data.remedy}` : ''}`;
    case 'GuestResized':
      return `has other limits: ${data.limits.cpuMillis}m cpu, ${mebi(data.limits.memoryBytes)} memory`;
    case 'GuestResizeFailed':
      return `keeps its limits: ${data.reason}${data.remedy ? ` — ${data.remedy}` : ''}`;
    case 'GuestRemoved':
      return `removed from ${data.node}; nothing of it is left`;
    case 'WorkloadDeclared':
    case 'WorkloadChanged':
      return `${data.kind} ${data.workload} wanted with ${data.replicas} replicas, revision ${data.revision}`;
    case 'RolloutAdvanced':
      return `rollout of revision ${data.revision} ${data.phase}: ${data.updated} updated, ${data.ready} ready of ${data.wanted}${data.message ? ` (${data.message})` : ''}`;
    case 'WorkloadRemoved':
      return `${data.workload} not wanted any more`;
    case 'ServiceDeclared':
      return `service ${data.service} wanted at port ${data.ports.map(({ port }) => port).join(', ')}`;
    case 'ServiceRemoved':
      return `service ${data.service} not wanted any more`;
    case 'ServiceEndpointsChanged':
      return `served by ${data.endpoints.map(({ instance }) => instance).join(', ') || 'nobody'}`;
    case 'NodeJoined':
      return `offers ${data.capacity.cpuMillis}m cpu, ${mebi(data.capacity.memoryBytes)} memory; runtimes ${data.runtimes.map(({ name }) => name).join(', ') || 'none'}`;
    case 'NodeLost':
    case 'NodeLeft':
    case 'NodeCordoned':
      return `${type.slice(4).toLowerCase()}: ${data.reason}`;
    case 'PluginFailed':
      return `${data.plugin} failed: ${data.reason}`;
    default:
      return type;
  }
}

function mebi(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)}Mi`;
}

function summary(cluster: ClusterState, subject: string, steps: readonly ExplanationStep[]): string {
  const last = steps.at(-1)?.text ?? '';
  const instance = cluster.instances.get(subject);
  if (instance) {
    const why = instance.reason ? `: ${instance.reason}` : '';
    return `${subject} is ${instanceState(instance)}${instance.node ? ` on ${instance.node}` : ''}${why}`;
  }
  const node = cluster.nodes.get(subject);
  if (node)
    return `node ${subject} is ${node.cordoned ? 'cordoned' : node.state} with ${node.instances.size} instances`;
  return `${subject}: ${last}`;
}
