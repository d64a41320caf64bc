import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { signalName } from '@cloudos/host-tools';
import type { GuestContainerStatus } from '@cloudos/sdk';
import { furtherContainers } from './vm-containers.ts';
import type { Vm } from './vm-flavour.ts';
import { machineDir } from './vm-state.ts';

/** The record that the agent of a machine writes, in the directory of its guest. */
export function recordPath({ directory }: Pick<Vm, 'directory'>): string {
  return join(directory, machineDir, 'end');
}

/** What a record said before it was cut. */
export function statusesPath({ directory }: Pick<Vm, 'directory'>): string {
  return join(directory, 'containers.json');
}

const line = /^container (\d) (?:ended (\d+) (-?\d+) (\d+) ([01]) (-?\d+)|runs (\d+))$/;

/** Each end and each new run of a container beside the first, as the lines of a record tell it. Others are passed over. */
export function readChanges(text: string, names: readonly string[]): GuestContainerStatus[] {
  return text.split('\n').flatMap((each): GuestContainerStatus[] => {
    const [all, index, restarts, code, signal, over, pause, again] = line.exec(each) ?? [];
    const name = names[Number(index) - 1];
    if (all === undefined || name === undefined) return [];
    if (again !== undefined) return [{ name, state: 'running' as const, restarts: Number(again) }];
    const backOffMs = Number(pause);
    const ended = { name, restarts: Number(restarts), exit: exitOf(Number(code), Number(signal), over === '1') };
    return [backOffMs < 0 ? { ...ended, state: 'ended' as const } : { ...ended, state: 'waiting' as const, backOffMs }];
  });
}

function exitOf(code: number, signal: number, over: boolean): NonNullable<GuestContainerStatus['exit']> {
  const name = signalName(signal);
  if (name === undefined) return { exitCode: code, signal: null, reason: 'exited' };
  const killed = name === 'SIGKILL' && over;
  return {
    exitCode: null,
    signal: name,
    reason: killed ? 'oom-killed' : 'signalled',
    ...(killed ? { message: 'over its memory' } : {}),
  };
}

/** The containers beside the first of a machine that runs, in the order of the template. */
export function containerStatuses(vm: Vm): GuestContainerStatus[] {
  const names = furtherContainers(vm.state.spec);
  if (names.length === 0) return [];
  const known = new Map(cutStatuses(vm).map((status) => [status.name, status]));
  for (const change of readChanges(readText(recordPath(vm)), names)) {
    const exit = change.exit ?? known.get(change.name)?.exit;
    known.set(change.name, { ...change, ...(exit ? { exit } : {}) });
  }
  return names.map((name) => known.get(name) ?? { name, state: 'running', restarts: 0 });
}

interface CutRecord {
  readonly launch: string;
  readonly statuses: readonly GuestContainerStatus[];
}

function cutStatuses(vm: Vm): readonly GuestContainerStatus[] {
  const { launch, statuses } = JSON.parse(readText(statusesPath(vm)) || '{}') as Partial<CutRecord>;
  return launch === vm.state.launch ? (statuses ?? []) : [];
}

function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
