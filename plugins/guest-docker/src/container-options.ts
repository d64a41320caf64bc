import { hostName } from '@cloudos/host-tools';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';
import type { ContainerCreateOptions, HostConfig } from 'dockerode';
import { labels } from './container-view.ts';

/** Less than this the engine refuses. */
const memoryLimitMinBytes = 6 * 1024 * 1024;
const cpuPeriodMicros = 100_000;

/** Checks what a container is asked to be. @throws CloudosError GUEST_SPEC_INVALID */
export function checkSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string) => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { memoryBytes } = template.limits;
  if (memoryBytes > 0 && memoryBytes < memoryLimitMinBytes) {
    refuse(`a memory limit of ${memoryBytes} bytes is too small; the least is ${memoryLimitMinBytes}`);
  }
  if (template.workingDir !== undefined && !template.workingDir.startsWith('/')) {
    refuse(`the working directory ${template.workingDir} is not an absolute path`);
  }
  for (const { name } of template.env)
    if (name.includes('=')) refuse(`an environment variable cannot be called ${name}`);
  const { command, args } = commandOf(template);
  const texts = [
    ...(command ?? []),
    ...(args ?? []),
    template.workingDir ?? '',
    ...template.env.map(({ name }) => name),
  ];
  if (texts.some((text) => text.includes('\0'))) refuse('a command or a variable contains a NUL character');
  if (command?.[0] === '') refuse('the command is empty');
}

function commandOf({ command, args }: GuestSpec['template']) {
  return { command: command?.length ? command : undefined, args: args?.length ? args : undefined };
}

export interface ContainerPlan {
  readonly spec: GuestSpec;
  readonly owner: string;
  readonly attempt: number;
  readonly image: string;
  readonly env: Readonly<Record<string, string>>;
  /** Absent: no network but loopback. */
  readonly network?: { readonly name: string; readonly address: string } | undefined;
  readonly mounts: readonly { readonly hostPath: string; readonly target: string; readonly readOnly: boolean }[];
  readonly logMaxBytes: number;
  /** Size of the root for the engine to keep, where it is the one who does. */
  readonly rootBytes?: number | undefined;
}

/**
 * What the engine is asked for (https://docs.docker.com/reference/api/engine/version/v1.41/, ContainerCreate): no
 * capabilities, no way to get any, the engine's default seccomp profile, an init that reaps and passes signals on.
 */
export function containerOptions(plan: ContainerPlan): ContainerCreateOptions {
  const { spec, network } = plan;
  const { template, instance } = spec;
  const { command, args } = commandOf(template);
  return {
    Image: plan.image,
    ...(command && { Entrypoint: [...command] }),
    // The arguments of the image belong to its own entry point.
    ...(args ? { Cmd: [...args] } : command && { Cmd: [] }),
    Env: Object.entries(plan.env).map(([name, value]) => `${name}=${value}`),
    Hostname: template.hostname ?? hostName(instance),
    ...(template.workingDir !== undefined && { WorkingDir: template.workingDir }),
    ...(template.user !== undefined && { User: String(template.user) }),
    Labels: { [labels.owner]: plan.owner, [labels.instance]: instance, [labels.attempt]: String(plan.attempt) },
    HostConfig: {
      ...limitsOf(plan),
      Init: true,
      CapDrop: ['ALL'],
      SecurityOpt: ['no-new-privileges'],
      ReadonlyRootfs: template.readOnlyRoot,
      RestartPolicy: { Name: 'no' },
      NetworkMode: network?.name ?? 'none',
      Sysctls: { 'net.ipv4.ip_unprivileged_port_start': '0' },
      Mounts: plan.mounts.map(({ hostPath, target, readOnly }) => ({
        Type: 'bind' as const,
        Source: hostPath,
        Target: target,
        ReadOnly: readOnly,
        BindOptions: { Propagation: 'rprivate' as const },
      })),
      LogConfig: { Type: 'json-file', Config: { 'max-size': String(plan.logMaxBytes), 'max-file': '2' } },
    },
    ...(network && {
      NetworkingConfig: {
        EndpointsConfig: { [network.name]: { IPAMConfig: { IPv4Address: network.address } } },
      },
    }),
  };
}

/** More than any machine has: the engine takes a limit of memory away from no container that is there. */
const noMemoryLimit = 2 ** 53;

/** Limits for a container that is there (ContainerUpdate): what is absent or 0 would stay as it was. */
export function changedLimits({ template }: GuestSpec): HostConfig {
  const { memoryBytes, cpuMillis, pids } = template.limits;
  const memory = memoryBytes > 0 ? memoryBytes : noMemoryLimit;
  return {
    Memory: memory,
    MemorySwap: memory,
    CpuPeriod: cpuPeriodMicros,
    CpuQuota: cpuMillis > 0 ? cpuQuotaMicros(cpuMillis) : -1,
    PidsLimit: pids > 0 ? pids + 1 : -1,
  };
}

/** The engine takes no less than 1 ms. */
function cpuQuotaMicros(cpuMillis: number): number {
  return Math.max(1_000, Math.round((cpuMillis * cpuPeriodMicros) / 1000));
}

function limitsOf({ spec, rootBytes }: ContainerPlan): NonNullable<ContainerCreateOptions['HostConfig']> {
  const { limits, requests } = spec.template;
  return {
    // Swap is none of the guest's: the limit is of memory and swap together.
    ...(limits.memoryBytes > 0 && { Memory: limits.memoryBytes, MemorySwap: limits.memoryBytes }),
    ...(limits.cpuMillis > 0 && {
      CpuPeriod: cpuPeriodMicros,
      CpuQuota: cpuQuotaMicros(limits.cpuMillis),
    }),
    ...(requests.cpuMillis > 0 && { CpuShares: Math.max(2, Math.round((requests.cpuMillis * 1024) / 1000)) }),
    // The init is not the guest's own.
    ...(limits.pids > 0 && { PidsLimit: limits.pids + 1 }),
    ...(rootBytes !== undefined && { StorageOpt: { size: String(rootBytes) } }),
  };
}
