import { macOf, type NodeBridge } from '@cloudos/node-network';
import { CloudosError, type GuestSpec, type ResourceVector } from '@cloudos/sdk';
import type { GuestRecord } from './guest-record.ts';
import { guestPaths } from './guest-tools.ts';

/** Configuration keys by which our instances are known at the daemon. */
export const keys = { owner: 'user.cloudos.owner', instance: 'user.cloudos.instance' } as const;

const memoryLimitMinBytes = 6 * 1024 * 1024;

/** Checks what a container is asked to be. @throws CloudosError GUEST_SPEC_INVALID */
export function checkSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string) => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { memoryBytes } = template.limits;
  if (memoryBytes > 0 && memoryBytes < memoryLimitMinBytes) {
    refuse(`a memory limit of ${memoryBytes} bytes is too small; the least is ${memoryLimitMinBytes}`);
  }
  if (template.readOnlyRoot) refuse('a machine of LXD writes to its root; use another runtime for a read-only one');
  if (template.workingDir !== undefined && !template.workingDir.startsWith('/')) {
    refuse(`the working directory ${template.workingDir} is not an absolute path`);
  }
  for (const variable of template.env) {
    if (/[=\s]/.test(variable.name)) refuse(`an environment variable cannot be called ${variable.name}`);
    if ('secret' in variable && !/^[A-Za-z_]\w*$/.test(variable.name)) {
      refuse(`a variable with a secret is named by letters, digits and underscores, not ${variable.name}`);
    }
    if ('value' in variable && variable.value.includes('\n')) refuse(`the variable ${variable.name} has several lines`);
  }
  const texts = [...(template.command ?? []), ...(template.args ?? []), template.workingDir ?? ''];
  if (texts.some((text) => text.includes('\0'))) refuse('a command contains a NUL character');
}

export interface InstancePlan {
  readonly record: GuestRecord;
  readonly owner: string;
  readonly pool: string;
  readonly profiles: readonly string[];
  /** Command line of the first process; absent: the image's own init. */
  readonly init: string | undefined;
  readonly directories: { readonly tools: string; readonly own: string };
  /** Paths of the node, as devices. */
  readonly mounts: InstanceParts['devices'];
  readonly network: { readonly bridge: NodeBridge; readonly address: string; readonly link: string } | undefined;
}

/** What an instance is made of: configuration and devices in the terms of the daemon. */
export interface InstanceParts {
  readonly config: Readonly<Record<string, string>>;
  readonly devices: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly profiles: readonly string[];
}

/**
 * A container as LXD and Incus take it (LXD documentation, "Instance options", "Disk device", "NIC device"): unprivileged,
 * its users those of a range of the node. What they leave to LXC is said in lxc.container.conf(5).
 */
export function instanceParts(plan: InstancePlan): InstanceParts {
  const { record, directories, mounts, network } = plan;
  const { limits } = record.spec.template;
  return {
    profiles: plan.profiles,
    config: {
      [keys.owner]: plan.owner,
      [keys.instance]: record.spec.instance,
      'boot.autostart': 'false',
      'security.nesting': 'false',
      'security.privileged': 'false',
      'raw.lxc': rawLines(plan).join('\n'),
      ...setOnly({ ...memoryKeys(limits), ...otherLimitKeys(limits) }),
      ...environmentOfDaemon(record),
    },
    devices: {
      root: { type: 'disk', path: '/', pool: plan.pool },
      'cloudos-tools': { type: 'disk', source: directories.tools, path: guestPaths.tools, readonly: 'true' },
      'cloudos-own': { type: 'disk', source: directories.own, path: guestPaths.own },
      ...mounts,
      ...(network && {
        eth0: {
          type: 'nic',
          nictype: 'bridged',
          parent: network.bridge.name,
          name: 'eth0',
          host_name: network.link,
          hwaddr: macOf(network.address),
        },
      }),
    },
  };
}

/** Configuration of a memory limit. An empty value takes a key away from an instance that has it. */
export function memoryKeys({ memoryBytes }: ResourceVector): Record<string, string> {
  const isLimited = memoryBytes > 0;
  return { 'limits.memory': isLimited ? `${memoryBytes}B` : '', 'limits.memory.swap': isLimited ? 'false' : '' };
}

/** {@link memoryKeys} of processor time and processes. */
export function otherLimitKeys({ cpuMillis, pids }: ResourceVector): Record<string, string> {
  return {
    'limits.cpu.allowance': cpuMillis > 0 ? `${Math.max(1, Math.round(cpuMillis / 10))}ms/100ms` : '',
    // The first process is not the guest's own.
    'limits.processes': pids > 0 ? String(pids + 1) : '',
  };
}

function setOnly(config: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(config).filter(([, value]) => value !== ''));
}

function rawLines({ record, init, network }: InstancePlan): string[] {
  const { user } = record.spec.template;
  return [
    ...(init === undefined ? [] : [`lxc.init.cmd = ${init}`, 'lxc.signal.halt = SIGTERM']),
    ...(init !== undefined && user ? [`lxc.init.uid = ${user}`, `lxc.init.gid = ${user}`] : []),
    ...(network
      ? [
          `lxc.net.0.ipv4.address = ${network.address}/${network.bridge.prefix}`,
          `lxc.net.0.ipv4.gateway = ${network.bridge.gateway}`,
        ]
      : []),
  ];
}

/** Names that a shell can set. */
const shellName = /^[A-Za-z_]\w*$/;

/** The environment of a guest: that of its image, and over it what its specification says. Without secrets. */
export function environmentOf({ program, spec }: Pick<GuestRecord, 'program' | 'spec'>): Record<string, string> {
  const values = spec.template.env.flatMap((variable) =>
    'value' in variable ? [[variable.name, variable.value]] : [],
  );
  return { ...program?.env, ...(Object.fromEntries(values) as Record<string, string>) };
}

/**
 * What the first process of a guest sets itself. LXC gives an environment to its hooks too, which run programs of the node
 * in the guest's place: a `PATH` without the programs of a hook would keep it from starting, and `LD_PRELOAD` is nobody's
 * to set there.
 */
export function environmentOfProgram(record: GuestRecord): Record<string, string> {
  return Object.fromEntries(Object.entries(environmentOf(record)).filter(([name]) => shellName.test(name)));
}

/** What is left to the daemon: the names that no shell can set, and what the init of a machine is given. */
function environmentOfDaemon(record: GuestRecord): Record<string, string> {
  const all = Object.entries(environmentOf(record)).filter(([name]) => !record.program || !shellName.test(name));
  return Object.fromEntries(all.map(([name, value]) => [`environment.${name}`, value]));
}

/** @throws CloudosError GUEST_SPEC_INVALID for what the hooks of a machine would get */
export function checkMachine({ instance, template }: GuestSpec): void {
  const found = template.env.find(({ name }) => name === 'PATH' || name.startsWith('LD_'));
  if (!found) return;
  throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: the init of a machine cannot be given ${found.name}`, {
    remedy: 'set it in the image, or give the image a program',
  });
}
