import { createHash } from 'node:crypto';
import { signalName } from '@cloudos/host-tools';
import type { GuestExit, GuestSpec, GuestStatus } from '@cloudos/sdk';
import type { VmObject } from './vmadm.ts';

/** What is written down about a guest. What it does now is told by its VM. */
export interface VmRecord {
  readonly version: 1;
  readonly spec: GuestSpec;
  readonly uuid: string;
  /** The last attempt that came to run; 0 before the first. */
  readonly attempt: number;
  /** An attempt that was begun, and when the run before it ended. Whether it came to run is told by the VM. */
  readonly launching?: { readonly attempt: number; readonly endBefore: string | null };
  /** The attempt that was asked to end. */
  readonly stopping?: number;
  readonly address?: string;
  /** How the last run ended, where that was seen. */
  readonly exit?: GuestExit;
}

/** Tags by which the VMs of one node are known. */
export const tags = { node: 'cloudos-node', instance: 'cloudos-instance' } as const;

/** UUIDs of guests are made from their names, so that a repeated create finds the first (RFC 9562, version 5). */
const namespace = Buffer.from('5b4f2f0e8f4b4d0c9a5c1f7a3d2e6b90', 'hex');

export function uuidOf(node: string, instance: string): string {
  const hash = createHash('sha1').update(namespace).update(`${node}\n${instance}`).digest().subarray(0, 16);
  hash.writeUInt8((hash.readUInt8(6) & 0x0f) | 0x50, 6);
  hash.writeUInt8((hash.readUInt8(8) & 0x3f) | 0x80, 8);
  return hash.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** States in which a VM does not run; those between (`stopping`, `provisioning`) count as running. */
const still: ReadonlySet<string> = new Set(['stopped', 'installed', 'configured', 'incomplete', 'failed']);

export function isRunning(vm: VmObject | undefined): boolean {
  return vm !== undefined && !still.has(vm.state);
}

/** How the run of the record ended, by a VM that does not run. */
export function exitOf({ spec, attempt, stopping }: VmRecord, vm: VmObject | undefined): GuestExit {
  const about = { instance: spec.instance, attempt };
  const stopped = stopping === attempt;
  if (vm?.exit_status === undefined) {
    const message = vm ? `the zone is ${vm.state}, and nobody saw how its program ended` : 'the zone was removed';
    return { ...about, exitCode: null, signal: null, reason: stopped ? 'stopped' : 'lost', message };
  }
  const status = vm.exit_status;
  // The lowest seven bits of a status are the signal, the eighth says that there is a core (wait.h(3HEAD)).
  const signal = status < 0 ? (signalName(-status & 0x7f) ?? `signal ${-status & 0x7f}`) : null;
  const reason = stopped ? 'stopped' : signal ? 'signalled' : 'exited';
  return { ...about, exitCode: signal ? null : status, signal, reason };
}

export function statusOf(record: VmRecord, vm: VmObject | undefined): GuestStatus {
  const { spec, attempt, uuid, exit } = record;
  const { instance } = spec;
  const base = {
    instance,
    runtime: 'zones',
    handle: { runtime: 'zones', version: 1, driver: 'smartos', instance, uuid },
  };
  if (attempt === 0) return { ...base, state: 'created', attempt: 0 };
  if (exit || !isRunning(vm)) return { ...base, state: 'exited', attempt, exit: exit ?? exitOf(record, vm) };
  const host = vm?.nics[0]?.ip ?? record.address;
  return {
    ...base,
    state: 'running',
    attempt,
    ...(vm?.pid === undefined ? {} : { pid: vm.pid }),
    ...(host === undefined || host === 'dhcp' ? {} : { address: { host } }),
  };
}

/** The instance that a handle of this driver means, or undefined. */
export function instanceOfHandle(handle: unknown): string | undefined {
  const { runtime, driver, instance } = (handle ?? {}) as Readonly<Record<string, unknown>>;
  return runtime === 'zones' && driver === 'smartos' && typeof instance === 'string' ? instance : undefined;
}
