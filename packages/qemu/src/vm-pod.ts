import { CloudosError } from '@cloudos/sdk';
import { containerStatuses } from './container-status.ts';
import { containerIndex } from './vm-containers.ts';
import type { Vm, VmFlavour } from './vm-flavour.ts';

/** How long a container may take to be over after it was killed. */
const killedMaxMs = 5_000;
const stepMs = 50;

/**
 * Ends the run of a container beside the first.
 * @throws CloudosError GUEST_NOT_FOUND, GUEST_UNSUPPORTED, GUEST_UNRESPONSIVE, HOST_COMMAND_FAILED when it goes on
 */
export async function endContainer(flavour: VmFlavour, vm: Vm, container: string, graceMs: number): Promise<void> {
  const { instance } = vm.state.spec;
  const index = containerIndex(vm.state.spec, container);
  if (index === 0) {
    throw new CloudosError(
      'GUEST_NOT_FOUND',
      `${container} is the first container of ${instance}: it ends with the guest`,
    );
  }
  if (!flavour.signalContainer) {
    throw new CloudosError('GUEST_UNSUPPORTED', `guests of ${flavour.runtime} have one container`);
  }
  const now = () => containerStatuses(vm)[index - 1];
  const before = now();
  const isOver = () => now()?.state !== 'running' || now()?.restarts !== before?.restarts;
  if (before?.state !== 'running') return;
  for (const [signal, maxMs] of [['SIGTERM', graceMs] as const, ['SIGKILL', killedMaxMs] as const]) {
    if (maxMs <= 0) continue;
    await flavour.signalContainer(vm, index, signal);
    for (const deadline = Date.now() + maxMs; Date.now() < deadline; ) {
      if (isOver()) return;
      await new Promise((resolve) => setTimeout(resolve, stepMs));
    }
    if (isOver()) return;
  }
  throw new CloudosError(
    'HOST_COMMAND_FAILED',
    `container ${container} of ${instance} is not over ${killedMaxMs} ms after it was killed`,
  );
}
