import type { GuestAddress, GuestExit, GuestStatus } from '@cloudos/sdk';
import type { Carrier, QemuRun } from './carrier.ts';
import { containerStatuses } from './container-status.ts';
import { daemonEnd } from './mounts.ts';
import type { Vm, VmFlavour } from './vm-flavour.ts';
import type { VmNetworkState, VmState, VmStore } from './vm-state.ts';

/** What drivers of virtual machines work with. */
export interface VmEnvironment {
  readonly store: VmStore;
  readonly carrier: Carrier;
  readonly flavour: VmFlavour;
}

/** A machine as its files and its carrier tell it. */
export interface VmView extends Vm {
  readonly phase: 'created' | 'running' | 'exited' | 'unborn';
  readonly run?: QemuRun;
  readonly exit?: GuestExit;
}

export async function viewVm(environment: VmEnvironment, name: string): Promise<VmView | undefined> {
  const { store, carrier, flavour } = environment;
  const state = await store.state(name);
  if (!state) return undefined;
  const vm = { name, directory: store.directory(name), state };
  if (state.launch === undefined) return { ...vm, phase: 'created' };
  if (state.beginning) return { ...vm, phase: 'unborn' };
  const run = await carrier.look(name, state.launch);
  if (run.phase === 'unborn') return { ...vm, phase: 'unborn' };
  if (run.phase === 'running') return { ...vm, phase: 'running', run };
  const told = await flavour.explain(vm, run.end);
  const why = told.exitCode === null ? await daemonEnd(vm.directory, state.launch) : undefined;
  const stopped = state.stopping === state.launch;
  const exit: GuestExit = {
    instance: state.spec.instance,
    attempt: state.attempt,
    ...told,
    ...(why === undefined ? {} : { message: why }),
    ...(stopped ? { reason: 'stopped' } : {}),
  };
  return { ...vm, phase: 'exited', run, exit };
}

/** The machines that run now. */
export async function runningVms(environment: VmEnvironment): Promise<VmView[]> {
  const names = await environment.store.names();
  const views = await Promise.all(names.map((name) => viewVm(environment, name)));
  return views.filter((view): view is VmView => view?.phase === 'running');
}

/** The last attempt that came to run; 0 before the first. */
export function lastAttempt({ state, phase }: Pick<VmView, 'state' | 'phase'>): number {
  return phase === 'unborn' ? (state.previousAttempt ?? 0) : state.attempt;
}

export function statusOf(runtime: string, view: VmView): GuestStatus {
  const { state, name, run, exit } = view;
  const { instance } = state.spec;
  const base = { instance, runtime, handle: { runtime, version: 1, name, instance } };
  if (view.phase === 'created' || view.phase === 'unborn') {
    return { ...base, state: 'created', attempt: lastAttempt(view) };
  }
  const running = view.phase === 'running';
  const address = running ? addressOf(state) : undefined;
  const containers = running ? containerStatuses(view) : [];
  const pid = run?.phase === 'running' ? run.process?.pid : undefined;
  return {
    ...base,
    state: running ? (state.paused ? 'paused' : 'running') : 'exited',
    attempt: state.attempt,
    ...(pid === undefined ? {} : { pid }),
    ...(address ? { address } : {}),
    ...(containers.length > 0 ? { containers } : {}),
    ...(exit ? { exit } : {}),
  };
}

function addressOf({ network }: VmState): GuestAddress | undefined {
  return network && guestAddress(network);
}

function guestAddress(network: VmNetworkState): GuestAddress | undefined {
  if (network.kind === 'bridge') return { host: network.address };
  return Object.keys(network.ports).length > 0 ? { host: '127.0.0.1', ports: network.ports } : undefined;
}
