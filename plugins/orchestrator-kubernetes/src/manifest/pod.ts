import type { Constraint, GuestTemplate, PlacementRule } from '@cloudos/sdk';
import { readAffinity } from './affinity.ts';
import { readContainers } from './containers.ts';
import type { Fields } from './fields.ts';
import { dnsLabel, type Metadata, readMetadata } from './metadata.ts';
import { type Ownership, readOwnership } from './ownership.ts';
import { readPidsLimit } from './resources.ts';
import { nodeConstraint } from './topology.ts';
import { readVolumes } from './volumes.ts';

/** What a pod says about an instance: the template, and where it may run. */
export interface PodPart extends Ownership {
  readonly template: GuestTemplate;
  readonly priority: number;
  readonly constraints: Constraint[];
  readonly node?: string;
  readonly placement?: PlacementRule[];
  readonly hostPorts?: number[];
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

/** A pod template, or a pod: `metadata` and `spec` of the mapping. */
export function readPod(
  owner: Fields,
  { annotations, labels, namespace }: Metadata,
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
  const volumes = readVolumes(spec);
  const pidsLimit = readPidsLimit(annotations, owner);
  const read = readContainers(spec, { namespace, pidsLimit, user: podUser, volumes }, restart);
  const node = spec.string('nodeName');
  const affinity = readAffinity(spec, namespace);
  const placement = {
    priority: readPriority(spec, priorityClasses),
    constraints: [...readNodeSelector(spec), ...affinity.constraints],
    ...(node && { node }),
    ...readOwnership(owner, annotations, labels),
    ...(affinity.placement.length > 0 && { placement: affinity.placement }),
    ...(read && read.hostPorts.length > 0 && { hostPorts: read.hostPorts }),
  };
  unsupportedPodFields(spec);
  spec.done();
  if (!read) return undefined;
  const template: GuestTemplate = {
    ...read.template,
    ...(runtime && { runtime }),
    ...(hostname && { hostname }),
    restart: restart === 'Always' ? 'always' : restart === 'OnFailure' ? 'on-failure' : 'never',
    stopGraceMs,
    labels: { ...labels },
  };
  return { template, ...placement };
}

/** The template of a Deployment or a ReplicaSet. */
export function readPodTemplate(
  owner: Fields,
  of: Metadata,
  priorityClasses: Readonly<Record<string, number>>,
): PodPart | undefined {
  const template = owner.object('template');
  if (!template) {
    if (!owner.has('template')) owner.report.invalid(owner.at('template'), undefined, 'a mapping');
    return undefined;
  }
  const metadata = { ...readMetadata(template, 'none'), namespace: of.namespace };
  const part = readPod(template, metadata, ['Always'], priorityClasses);
  template.done();
  return part && { ...readOwnership(owner, of.annotations, of.labels), ...part };
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
    constraints.push(nodeConstraint(name, 'in', [value]));
  }
  return constraints;
}

function unsupportedPodFields(spec: Fields): void {
  spec.unsupported(['initContainers', 'ephemeralContainers'], 'is not supported');
  spec.unsupported(['hostNetwork', 'hostPID', 'hostIPC'], 'guests have namespaces of their own');
  spec.unsupported(['activeDeadlineSeconds', 'schedulingGates', 'resourceClaims', 'resources'], 'is not supported');
  spec.advisory(['readinessGates', 'schedulerName', 'preemptionPolicy', 'overhead', 'os'], 'ignored');
  spec.advisory(['dnsPolicy', 'dnsConfig', 'hostAliases', 'subdomain', 'setHostnameAsFQDN'], 'ignored');
  spec.advisory(['imagePullSecrets', 'serviceAccountName', 'serviceAccount'], 'ignored');
  // nodes have no taints here: what tolerates them goes everywhere that it would
  spec.silent(['tolerations']);
  spec.silent(['automountServiceAccountToken', 'enableServiceLinks', 'shareProcessNamespace', 'hostUsers']);
}
