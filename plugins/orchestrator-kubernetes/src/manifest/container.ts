import type { GuestTemplate } from '@cloudos/sdk';
import type { Fields } from './fields.ts';
import { readProbe } from './probes.ts';
import { readResources } from './resources.ts';

export type ContainerTemplate = Omit<GuestTemplate, 'restart' | 'stopGraceMs' | 'labels' | 'runtime' | 'hostname'>;

const environmentName = /^[-._a-zA-Z][-._a-zA-Z0-9]*$/;
const portName = /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(-[a-z0-9]+)*$/;

/** One container as a guest template (https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1/). */
export function readContainer(
  fields: Fields,
  pidsLimit: number | undefined,
  podUser: number | undefined,
): { readonly template: ContainerTemplate; readonly hostPorts: number[] } {
  fields.required('name');
  const image = fields.required('image');
  fields.oneOf('imagePullPolicy', ['Always', 'IfNotPresent', 'Never']);
  const env = readEnvironment(fields);
  const expand = (texts: string[] | undefined) => texts?.map((text) => expandVariables(text, env));
  const [command, args] = [expand(fields.strings('command')), expand(fields.strings('args'))];
  const workingDir = fields.string('workingDir');
  const { ports, hostPorts } = readPorts(fields);
  const security = readSecurity(fields.object('securityContext'));
  const user = security.user ?? podUser;
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
    ports,
    ...readResources(fields, pidsLimit),
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
  fields.unsupported(['volumeMounts', 'volumeDevices'], 'volumes are not supported');
  fields.unsupported(['envFrom'], 'envFrom is not supported: write the variables under env');
  fields.unsupported(['restartPolicy', 'restartPolicyRules'], 'is not supported: use the restartPolicy of the pod');
  fields.advisory(['lifecycle'], 'hooks are not run (a service stops sending requests before a guest is stopped)');
  fields.advisory(['stdin', 'stdinOnce', 'tty', 'resizePolicy'], 'ignored');
  fields.silent(['terminationMessagePath', 'terminationMessagePolicy']);
}

function readEnvironment(container: Fields): { name: string; value: string }[] {
  const env: { name: string; value: string }[] = [];
  for (const variable of container.list('env')) {
    const name = variable.required('name');
    if (name && !environmentName.test(name)) {
      variable.report.invalid(variable.at('name'), name, 'letters, digits, dots, dashes and underscores');
    }
    variable.unsupported(['valueFrom'], 'valueFrom is not supported: give a value');
    const value = expandVariables(variable.string('value') ?? '', env);
    variable.done();
    const earlier = env.findIndex((other) => other.name === name);
    if (earlier >= 0) env.splice(earlier, 1);
    env.push({ name, value });
  }
  return env;
}

/**
 * Replaces `$(NAME)` by the value of a variable defined before; `$$(NAME)` stands for itself, and so does a name that
 * is not defined (https://kubernetes.io/docs/tasks/inject-data-application/define-interdependent-environment-variables/).
 */
export function expandVariables(text: string, env: readonly { name: string; value: string }[]): string {
  return text.replace(/\$\$|\$\(([-._a-zA-Z][-._a-zA-Z0-9]*)\)/g, (whole, name: string | undefined) => {
    if (whole === '$$') return '$';
    return env.find((variable) => variable.name === name)?.value ?? whole;
  });
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
