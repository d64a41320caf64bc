import { isAlive, startTimeOf, until } from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import type { QmpClient } from './qmp.ts';
import { connectMonitor } from './vm-lifecycle.ts';
import { VmSnapshots } from './vm-snapshots.ts';
import type { VmState } from './vm-state.ts';
import type { VmEnvironment, VmView } from './vm-view.ts';

/** How long QEMU may take to give a transfer up. */
const cancelMaxMs = 10_000;
const idle: readonly unknown[] = [undefined, 'none', 'completed', 'failed', 'cancelled'];

/**
 * What is written down before a machine is held for a snapshot. Who finds it, and that process gone, lets the machine go
 * on in its place.
 */
export function holding(state: VmState): VmState {
  return { ...state, heldBy: { pid: process.pid, startTime: startTimeOf(process.pid) ?? '' } };
}

/** The machine goes on, or stands still because it was paused. */
export function released({ heldBy: _heldBy, ...state }: VmState): VmState {
  return state;
}

/** Brings a machine that stands still, or runs, to where its state can be saved: after a transfer QEMU refuses another. */
export async function holdStill(qmp: QmpClient): Promise<void> {
  const { status } = await qmp.execute<{ status: string }>('query-status');
  if (status === 'postmigrate') await qmp.execute('cont');
  await qmp.execute('stop');
}

/**
 * Lets a machine go on that its driver held for a snapshot when it was killed, and ends what there is of the snapshot.
 * Does nothing for any other machine.
 */
export async function endInterruptedSnapshot({ store, flavour }: VmEnvironment, view: VmView): Promise<void> {
  const { state, directory } = view;
  if (!state.heldBy || isAlive(state.heldBy)) return;
  const qmp = await connectMonitor(view);
  try {
    await cancelTransfer(qmp);
    if (!state.paused) await qmp.execute('cont');
  } finally {
    qmp.close();
  }
  await new VmSnapshots(directory, flavour.runtime).settle();
  await store.save(released(state));
}

/** Nobody reads it any more. */
async function cancelTransfer(qmp: QmpClient): Promise<void> {
  await qmp.execute('migrate_cancel');
  let status: string | undefined;
  const isIdle = await until(cancelMaxMs, async () => {
    ({ status } = await qmp.execute<{ status?: string }>('query-migrate'));
    return idle.includes(status);
  });
  if (isIdle) return;
  throw new CloudosError('TIMED_OUT', `QEMU: a transfer was not given up in ${cancelMaxMs} ms (${status})`);
}
