import type { GuestTemplate } from '@cloudos/sdk';
import { expandVariables, readEnvironment, refuseSecretsIn } from './environment.ts';
import type { Fields } from './fields.ts';
import { readProbe } from './probes.ts';
import { readResources } from './resources.ts';
import { readMounts, type Volumes } from './volumes.ts';

export type ContainerTemplate = Omit<GuestTemplate, 'restart' | 'stopGraceMs' | 'labels' | 'runtime' | 'hostname'>;

const portName = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/;

/** What a pod says for its containers. */
export interface PodContext {
  readonly namespace: string;
  readonly pidsLimit: number | undefined;
  readonly user: number | undefined;
  readonly volumes: Volumes;
}

/** One container as a guest template (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/). */
export function readContainer(
  fields: Fields,
  pod: PodContext,
): { readonly template: ContainerTemplate; readonly hostPorts: number[] } {
  fields.required('name');
  const image = fields.required('image');
  fields.oneOf('imagePullPolicy', ['Always', 'IfNotPresent', 'Never']);
  const env = readEnvironment(fields, pod.namespace);
  const [command, args] = (['command', 'args'] as const).map((key) => {
    const texts = fields.strings(key);
    refuseSecretsIn(fields, key, texts ?? [], env);
    return texts?.map((text) => expandVariables(text, env));
  });
  const mounts = readMounts(fields, pod.volumes);
  const workingDir = fields.string('workingDir');
  const { ports, hostPorts } = readPorts(fields);
  const security = readSecurity(fields.object('securityContext'));
  const user = security.user ?? pod.user;
  if (security.nonRoot && user === 0) {
    fields.report.refuse(fields.at('securityContext.runAsNonRoot'), 'contradicts runAsUser 0');
  }
  const [readiness, liveness, startup] = [
    readProbe(fields, 'readinessProbe', ports),
    readProbe(fields, 'livenessProbe', ports),
    readProbe(fields, 'startupProbe', ports),
  ];
  const template: ContainerTemplate = {
    image,
    ...(command && command.length > 0 && { command }),
    ...(args && args.length > 0 && { args }),
    ...(workingDir && { workingDir }),
    env,
    ...(mounts.length > 0 && { mounts }),
    ports,
    ...readResources(fields, pod.pidsLimit),
    ...(readiness && { readiness }),
    ...(liveness && { liveness }),
    ...(startup && { startup }),
    readOnlyRoot: security.readOnlyRoot,
    ...(user !== undefined && { user }),
  };
  unsupportedContainerFields(fields);
  fields.done();
  return { template, hostPorts };
}

function unsupportedContainerFields(fields: Fields): void {
  fields.unsupported(['volumeDevices'], 'devices are not supported');
  fields.unsupported(['envFrom'], 'envFrom is not supported: write the variables under env');
  fields.unsupported(['restartPolicy', 'restartPolicyRules'], 'is not supported: use the restartPolicy of the pod');
  fields.advisory(['lifecycle'], 'hooks are not run (a service stops sending requests before a guest is stopped)');
  fields.advisory(['stdin', 'stdinOnce', 'tty', 'resizePolicy'], 'ignored');
  fields.silent(['terminationMessagePath', 'terminationMessagePolicy']);
}

function readPorts(container: Fields): { ports: GuestTemplate['ports']; hostPorts: number[] } {
  const ports: GuestTemplate['ports'] = [];
  const hostPorts: number[] = [];
  for (const fields of container.list('ports')) {
    const name = fields.string('name');
    if (name !== undefined && !portName.test(name)) {
      fields.report.invalid(fields.at('name'), name, 'at most 15 lower-case letters, digits and dashes');
    }
    if (name !== undefined && ports.some((port) => port.name === name)) {
      fields.report.refuse(fields.at('name'), `${name} names two ports`);
    }
    if (!fields.has('containerPort')) fields.report.invalid(fields.at('containerPort'), undefined, 'a port number');
    const port = fields.int('containerPort', { min: 1, max: 65_535 });
    const protocol = fields.oneOf('protocol', ['TCP', 'UDP']) === 'UDP' ? 'udp' : 'tcp';
    const hostPort = fields.int('hostPort', { min: 1, max: 65_535 });
    if (hostPort !== undefined) hostPorts.push(hostPort);
    fields.advisory(['hostIP'], 'ignored');
    fields.done();
    if (port !== undefined) ports.push({ ...(name !== undefined && { name }), port, protocol });
  }
  return { ports, hostPorts };
}

interface Security {
  readonly user: number | undefined;
  readonly nonRoot: boolean;
  readonly readOnlyRoot: boolean;
}

function readSecurity(fields: Fields | undefined): Security {
  if (!fields) return { user: undefined, nonRoot: false, readOnlyRoot: false };
  fields.unsupported(['privileged'], 'privileged guests are not supported');
  fields.advisory(['runAsGroup', 'seLinuxOptions', 'windowsOptions', 'procMount'], 'ignored');
  const capabilities = fields.object('capabilities');
  capabilities?.unsupported(['add'], 'guests are given no capabilities');
  capabilities?.silent(['drop']);
  capabilities?.done();
  fields.silent(['allowPrivilegeEscalation', 'seccompProfile', 'appArmorProfile']);
  const security = {
    user: fields.int('runAsUser'),
    nonRoot: fields.bool('runAsNonRoot') ?? false,
    readOnlyRoot: fields.bool('readOnlyRootFilesystem') ?? false,
  };
  fields.done();
  return security;
}
