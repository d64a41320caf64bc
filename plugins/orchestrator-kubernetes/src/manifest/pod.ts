import type { Constraint, GuestTemplate } from '@cloudos/sdk';
import { readContainer } from './container.ts';
import type { Fields } from './fields.ts';
import { dnsLabel, readMetadata } from './metadata.ts';
import { readPidsLimit } from './resources.ts';

/** What a pod says about an instance: the template, and where it may run. */
export interface PodPart {
  readonly template: GuestTemplate;
  readonly priority: number;
  readonly constraints: Constraint[];
  readonly node?: string;
}

/** Priority of a pod without a class. */
export const defaultPriority = 100;

/**
 * Priorities (0 to 1000) of the classes that exist without configuration. The two of Kubernetes' own come out on top
 * (https://kubernetes.io/docs/tasks/administer-cluster/guaranteed-scheduling-critical-addon-pods/).
 */
export const defaultPriorityClasses: Readonly<Record<string, number>> = {
  'system-node-critical': 1000,
  'system-cluster-critical': 900,
  'high-priority': 300,
  'low-priority': 50,
};

/** Well-known labels of nodes and the attributes that say the same here. */
const nodeAttributes: Readonly<Record<string, string>> = {
  'kubernetes.io/arch': 'arch',
  'kubernetes.io/hostname': 'hostname',
  'topology.kubernetes.io/zone': 'zone',
  'topology.kubernetes.io/region': 'region',
  'node.kubernetes.io/instance-type': 'instance-type',
};

/** Names that one processor architecture goes by. */
const architectures: readonly (readonly string[])[] = [
  ['amd64', 'x86_64', 'x64'],
  ['arm64', 'aarch64'],
];

/** A pod template, or a pod: `metadata` and `spec` of the mapping. */
export function readPod(
  owner: Fields,
  annotations: Readonly<Record<string, string>>,
  labels: Readonly<Record<string, string>>,
  restartPolicies: readonly ('Always' | 'OnFailure' | 'Never')[],
  priorityClasses: Readonly<Record<string, number>>,
): PodPart | undefined {
  const spec = owner.object('spec');
  if (!spec) {
    if (!owner.has('spec')) owner.report.invalid(owner.at('spec'), undefined, 'a mapping');
    return undefined;
  }
  const restart = spec.oneOf('restartPolicy', restartPolicies) ?? 'Always';
  const podSecurity = spec.object('securityContext');
  const podUser = podSecurity?.int('runAsUser');
  podSecurity?.advisory(['fsGroup', 'runAsGroup', 'supplementalGroups', 'sysctls', 'seLinuxOptions'], 'ignored');
  podSecurity?.silent(['seccompProfile', 'appArmorProfile', 'fsGroupChangePolicy', 'runAsNonRoot']);
  podSecurity?.done();
  const [runtime, hostname] = [spec.string('runtimeClassName'), spec.string('hostname')];
  if (hostname !== undefined && !dnsLabel.test(hostname)) {
    spec.report.invalid(spec.at('hostname'), hostname, 'lower-case letters, digits and dashes');
  }
  const stopGraceMs = (spec.int('terminationGracePeriodSeconds') ?? 30) * 1000;
  const containers = spec.list('containers');
  if (containers.length !== 1) {
    const given = `given ${containers.length} containers, expected one: an instance is one guest`;
    spec.report.refuse(spec.at('containers'), given);
  }
  const part = containers[0] && readContainer(containers[0], readPidsLimit(annotations, owner), podUser);
  const node = spec.string('nodeName');
  const placement = {
    priority: readPriority(spec, priorityClasses),
    constraints: readNodeSelector(spec),
    ...(node && { node }),
  };
  unsupportedPodFields(spec);
  spec.done();
  if (!part) return undefined;
  const template: GuestTemplate = {
    ...part,
    ...(runtime && { runtime }),
    ...(hostname && { hostname }),
    restart: restart === 'Always' ? 'always' : restart === 'OnFailure' ? 'on-failure' : 'never',
    stopGraceMs,
    labels: { ...labels },
  };
  return { template, ...placement };
}

/** The template of a Deployment or a ReplicaSet. */
export function readPodTemplate(owner: Fields, priorityClasses: Readonly<Record<string, number>>): PodPart | undefined {
  const template = owner.object('template');
  if (!template) {
    if (!owner.has('template')) owner.report.invalid(owner.at('template'), undefined, 'a mapping');
    return undefined;
  }
  const { labels, annotations } = readMetadata(template, 'none');
  const part = readPod(template, annotations, labels, ['Always'], priorityClasses);
  template.done();
  return part;
}

function readPriority(spec: Fields, classes: Readonly<Record<string, number>>): number {
  const name = spec.string('priorityClassName');
  spec.advisory(['priority'], 'ignored: name a priority class');
  if (!name) return defaultPriority;
  const priority = classes[name];
  if (priority === undefined) {
    spec.report.invalid(spec.at('priorityClassName'), name, `one of ${Object.keys(classes).join(', ')}`);
  }
  return priority ?? defaultPriority;
}

function readNodeSelector(spec: Fields): Constraint[] {
  const constraints: Constraint[] = [];
  for (const [name, value] of Object.entries(spec.stringMap('nodeSelector'))) {
    const system = name === 'kubernetes.io/os';
    if (system && value === 'linux') continue;
    if (system) spec.report.invalid(spec.at(`nodeSelector.${name}`), value, 'linux');
    const attribute = nodeAttributes[name] ?? name;
    const alike = attribute === 'arch' ? architectures.find((names) => names.includes(value)) : undefined;
    constraints.push({ attribute, operator: 'in', values: [...(alike ?? [value])] });
  }
  return constraints;
}

function unsupportedPodFields(spec: Fields): void {
  spec.unsupported(['volumes'], 'volumes are not supported');
  spec.unsupported(['initContainers', 'ephemeralContainers'], 'is not supported: an instance is one guest');
  spec.unsupported(['hostNetwork', 'hostPID', 'hostIPC'], 'guests have namespaces of their own');
  spec.unsupported(['activeDeadlineSeconds', 'schedulingGates', 'resourceClaims', 'resources'], 'is not supported');
  spec.advisory(['affinity', 'topologySpreadConstraints', 'tolerations'], 'ignored: use nodeSelector or nodeName');
  spec.advisory(['readinessGates', 'schedulerName', 'preemptionPolicy', 'overhead', 'os'], 'ignored');
  spec.advisory(['dnsPolicy', 'dnsConfig', 'hostAliases', 'subdomain', 'setHostnameAsFQDN'], 'ignored');
  spec.advisory(['imagePullSecrets', 'serviceAccountName', 'serviceAccount'], 'ignored');
  spec.silent(['automountServiceAccountToken', 'enableServiceLinks', 'shareProcessNamespace', 'hostUsers']);
}
