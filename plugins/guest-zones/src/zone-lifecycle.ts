import { existsSync } from 'node:fs';
import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { isAlive, type ProcessIdentity, processesWithArgument, signalProcess, until } from '@cloudos/host-tools';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';
import { planName } from './launch-plan-text.ts';
import { isForwarding } from './port-forwarder.ts';
import { removeSkeletons } from './userland.ts';
import { forwardPorts, launchZone, planLaunch, type ZoneEnvironment } from './zone-launcher.ts';
import { ownerName } from './zone-name.ts';
import { imageDigest, zoneRoot } from './zone-root.ts';
import { lastAttempt, viewZone, type ZoneView } from './zone-view.ts';
import type { ZoneWatch } from './zone-watch.ts';

/** How long processes may take to be gone after they were killed, and their control groups to be empty. */
const goneMaxMs = 5_000;
const frozenMaxMs = 5_000;

/** Carries zones from one state to the next. Each call may follow a crash in the middle of any other. */
export class ZoneLifecycle {
  readonly #watch: ZoneWatch;

  constructor(watch: ZoneWatch) {
    this.#watch = watch;
    watch.onEnded = (environment, zone) => this.#tidy(environment, zone);
  }

  /** Makes up its mind about what a crash left open: a launch under way, an end that nobody saw. */
  async settle(environment: ZoneEnvironment, view: ZoneView): Promise<ZoneView> {
    const { store } = environment;
    if (view.phase === 'unborn') {
      const script = join(store.directory(view.zone), 'start.sh');
      await until(
        environment.startTimeoutMs,
        () => processesWithArgument(script).length === 0 || store.run(view.zone)?.launch === view.state.launch,
      );
    } else if (view.phase === 'ended-unseen' && view.state.launch) {
      await store.writeLost(view.zone, view.state.launch);
      this.#watch.look(environment, view.zone);
    }
    return viewZone(store, view.zone) ?? view;
  }

  /** Makes a zone with its image, which is unpacked for it if it is the first of it. A failure leaves nothing. */
  async make(environment: ZoneEnvironment, spec: GuestSpec): Promise<void> {
    const { images, store, holderPrefix } = environment;
    const image = await imageDigest(images, spec);
    const holder = `${holderPrefix}${spec.instance}`;
    if (image !== undefined) await images.hold(image, holder);
    try {
      await zoneRoot(environment, spec, image);
      await store.make({ version: 1, spec, attempt: 0, ...(image === undefined ? {} : { image }) });
    } catch (error) {
      if (image !== undefined) await images.release(image, holder);
      throw error;
    }
  }

  async launch(environment: ZoneEnvironment, view: ZoneView, attempt: number): Promise<void> {
    const { store } = environment;
    await this.#clear(environment, view.zone);
    const state = await planLaunch(environment, view.state, attempt, lastAttempt(view));
    await store.save(state);
    try {
      const run = await launchZone(environment, state);
      const forwarded = await forwardPorts(environment, state, run);
      if (forwarded) await store.save(forwarded);
    } catch (error) {
      await this.#clear(environment, view.zone);
      await store.forgetRun(view.zone);
      const { launch: _launch, previousAttempt: _previous, ...before } = state;
      await store.save({ ...before, attempt: lastAttempt(view) });
      throw error;
    }
    this.#watch.look(environment, view.zone);
  }

  /** Starts the forwarder of a running zone again if it is gone. */
  async repairForwarder(environment: ZoneEnvironment, view: ZoneView): Promise<void> {
    if (environment.network || view.phase !== 'running' || !view.run || isForwarding(view.state.forwarder)) return;
    const state = await forwardPorts(environment, view.state, view.run);
    if (state) await environment.store.save(state);
  }

  async setFrozen({ groups }: ZoneEnvironment, zone: string, frozen: boolean): Promise<void> {
    groups.setFrozen(zone, frozen);
    if (await until(frozenMaxMs, () => groups.isFrozen(zone) === frozen)) return;
    groups.setFrozen(zone, false);
    throw new CloudosError('HOST_COMMAND_FAILED', `${zone} could not be frozen in ${frozenMaxMs} ms`);
  }

  /** Removes everything of a zone, whatever state it is in. */
  async dispose(environment: ZoneEnvironment, zone: string): Promise<void> {
    const { store, network, images, holderPrefix } = environment;
    const state = store.state(zone);
    if (!state && !existsSync(store.directory(zone))) return;
    await this.#clear(environment, zone);
    await network?.release(ownerName(zone), state?.address);
    if (state?.image !== undefined) await images.release(state.image, `${holderPrefix}${state.spec.instance}`);
    await store.remove(zone);
  }

  /** Removes what belongs to the node and not to one zone. */
  async purgeNode({ store, network, groups, dataDir, spawner }: ZoneEnvironment): Promise<void> {
    this.#watch.end();
    await spawner?.close();
    await network?.remove();
    groups.removeParents();
    await removeSkeletons(dataDir);
    await store.sweep(Number.POSITIVE_INFINITY);
    for (const directory of [store.zonesDir, store.exitsDir]) await rm(directory, { recursive: true, force: true });
    for (const name of await readdir(dataDir).catch(() => [])) {
      if (name.startsWith('.probe-')) await rm(join(dataDir, name), { recursive: true, force: true });
    }
  }

  /** Leaves no process, no control group and no cable of the zone; its files stay. */
  async #clear(environment: ZoneEnvironment, zone: string): Promise<void> {
    const { store, groups, network, spawner } = environment;
    const state = store.state(zone);
    const run = store.run(zone);
    const processes: ProcessIdentity[] = run ? [run.init, run.shim] : [];
    if (state?.paused) groups.setFrozen(zone, false);
    if (run && signalProcess(run.init, 'SIGKILL'))
      await until(goneMaxMs, () => !isAlive(run.init) && !isAlive(run.shim));
    if (state?.launch !== undefined && run?.launch !== state.launch) {
      // A launch that was cut off: a spawner may not have taken it yet, and whatever goes by its script belongs to it.
      await rm(join(store.directory(zone), planName(state.launch)), { force: true });
      processes.push(...processesWithArgument(join(store.directory(zone), 'start.sh')));
    }
    if (state?.forwarder) processes.push(state.forwarder);
    for (const process of processes) signalProcess(process, 'SIGKILL');
    const gone = await until(goneMaxMs, () => processes.every((process) => !isAlive(process)) && groups.remove(zone));
    if (!gone)
      throw new CloudosError('HOST_COMMAND_FAILED', `the processes of zone ${zone} are not gone in ${goneMaxMs} ms`);
    const link = network?.linkName(ownerName(zone));
    if (link === undefined || !existsSync(`/sys/class/net/${link}`)) return;
    if (!(await spawner?.unplug(link))) await network?.unplug(link);
  }

  /** What an ended zone does not need while it waits to be removed or started again. */
  async #tidy({ store, groups }: ZoneEnvironment, zone: string): Promise<void> {
    const state = store.state(zone);
    if (state?.forwarder) signalProcess(state.forwarder, 'SIGTERM');
    await until(goneMaxMs, () => viewZone(store, zone)?.phase !== 'exited' || groups.remove(zone));
  }
}
