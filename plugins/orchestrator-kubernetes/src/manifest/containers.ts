import { type GuestContainer, type GuestTemplate, guestContainersMax, type ResourceVector } from '@cloudos/sdk';
import { type ContainerTemplate, type PodContext, readContainer } from './container.ts';
import type { Fields } from './fields.ts';
import { dnsLabel } from './metadata.ts';

export interface ContainersPart {
  readonly template: ContainerTemplate & Pick<GuestTemplate, 'container' | 'containers'>;
  readonly hostPorts: number[];
}

type Read = ReturnType<typeof readContainer> & { readonly fields: Fields; readonly name: string };

/**
 * The containers of a pod as one guest: the first is the guest's own, the others are beside it. The guest requests what
 * all of them request, and is limited to what all of them are limited to.
 */
export function readContainers(spec: Fields, pod: PodContext, restart: string): ContainersPart | undefined {
  const list = spec.list('containers');
  if (list.length < 1 || list.length > guestContainersMax) {
    const given = `given ${list.length} containers, expected 1 to ${guestContainersMax}`;
    spec.report.refuse(spec.at('containers'), given);
  }
  const read = list.map((fields) => ({ fields, name: fields.string('name') ?? '', ...readContainer(fields, pod) }));
  const [first, ...others] = read;
  if (!first) return undefined;
  if (others.length === 0) return { template: first.template, hostPorts: first.hostPorts };
  checkNames(read);
  if (restart !== 'Always') {
    spec.report.warn(spec.at('containers'), `the pod has ended when its first container, ${first.name}, has`);
  }
  const vectors = (key: 'requests' | 'limits') => read.map(({ template }) => template[key]);
  return {
    template: {
      ...first.template,
      container: first.name,
      containers: others.map(toContainer),
      ports: read.flatMap(({ template }) => template.ports),
      requests: { ...sum(vectors('requests')), pids: pod.pidsLimit ?? 0 },
      limits: { ...sumOfLimits(vectors('limits')), pids: pod.pidsLimit ?? 0 },
    },
    hostPorts: read.flatMap(({ hostPorts }) => hostPorts),
  };
}

function checkNames(read: readonly Read[]): void {
  const ports = new Set<string>();
  for (const [index, { fields, name, template }] of read.entries()) {
    if (!dnsLabel.test(name)) fields.report.invalid(fields.at('name'), name, 'lower-case letters, digits and dashes');
    if (read.findIndex((each) => each.name === name) !== index) {
      fields.report.refuse(fields.at('name'), `${name} names two containers`);
    }
    for (const { name: port, port: number, protocol } of template.ports) {
      if (port !== undefined && ports.has(port)) fields.report.refuse(fields.at('ports'), `${port} names two ports`);
      if (port !== undefined) ports.add(port);
      const address = `${number}/${protocol}`;
      if (ports.has(address)) {
        fields.report.refuse(fields.at('ports'), `${address} is taken by another container: they share one address`);
      }
      ports.add(address);
    }
  }
}

function toContainer({ name, template }: Read): GuestContainer {
  const { image, command, args, workingDir, env, mounts, limits, readOnlyRoot, user } = template;
  const { readiness, liveness, startup } = template;
  return {
    name,
    image,
    ...(command && { command }),
    ...(args && { args }),
    ...(workingDir && { workingDir }),
    env,
    ...(mounts && { mounts }),
    limits: { memoryBytes: limits.memoryBytes, pids: 0 },
    readOnlyRoot,
    ...(user !== undefined && { user }),
    ...(readiness && { readiness }),
    ...(liveness && { liveness }),
    ...(startup && { startup }),
  };
}

function sum(vectors: readonly ResourceVector[]): ResourceVector {
  const custom: Record<string, number> = {};
  for (const vector of vectors) {
    for (const [name, amount] of Object.entries(vector.custom ?? {})) custom[name] = (custom[name] ?? 0) + amount;
  }
  const of = (key: 'cpuMillis' | 'memoryBytes' | 'diskBytes' | 'pids') =>
    vectors.reduce((total, vector) => total + vector[key], 0);
  return {
    cpuMillis: of('cpuMillis'),
    memoryBytes: of('memoryBytes'),
    diskBytes: of('diskBytes'),
    pids: of('pids'),
    ...(Object.keys(custom).length > 0 && { custom }),
  };
}

/** A container without a limit may take what the others leave: the pod has none then. */
function sumOfLimits(vectors: readonly ResourceVector[]): ResourceVector {
  const total = sum(vectors);
  const of = (key: 'cpuMillis' | 'memoryBytes' | 'diskBytes') =>
    vectors.every((vector) => vector[key] > 0) ? total[key] : 0;
  return { ...total, cpuMillis: of('cpuMillis'), memoryBytes: of('memoryBytes'), diskBytes: of('diskBytes') };
}
