import { existsSync } from 'node:fs';
import { readdir, readFile, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { endProcess, findTool, processesWithArgument, runCommand, startTimeOf } from '@cloudos/host-tools';

/**
 * Ends what an engine that was killed has begun to run and not written down as running. Nobody was told that it runs, and
 * the next engine, which restores what is written down, would leave it there beside its successor.
 * @param directory data root of the engine, which must not run
 * @param execRoot where its containerd keeps what runs
 */
export async function endUnknownRuns(directory: string, execRoot: string): Promise<void> {
  // Where the machine has a containerd of its own, the engine works with that one, as others do.
  for (const state of [join(execRoot, 'containerd/daemon'), '/run/containerd']) {
    const bundles = join(state, 'io.containerd.runtime.v2.task/moby');
    for (const container of await namesIn(bundles)) {
      const config = await configOf(directory, container);
      if (config === '' || isRunning(config)) continue;
      const pid = Number(await readFile(join(bundles, container, 'init.pid'), 'utf8').catch(() => 0));
      const startTime = startTimeOf(pid);
      const groups = await readFile(`/proc/${pid}/cgroup`, 'utf8').catch(() => '');
      // The file may be older than the process of that number.
      if (startTime !== undefined && groups.includes(container)) await endProcess({ pid, startTime }, 0);
      // Its shim, which may wait for a container that was never made. containerd cleans up after a shim that is gone.
      for (const shim of processesWithArgument(container)) await endProcess(shim, 0);
    }
  }
  for (const container of await namesIn(join(directory, 'containers'))) {
    if (!isRunning(await configOf(directory, container))) await removeGroups(container);
  }
}

/** Empty: the engine has not written the container down. */
function configOf(directory: string, container: string): Promise<string> {
  return readFile(join(directory, 'containers', container, 'config.v2.json'), 'utf8').catch(() => '');
}

const cgroupRoot = '/sys/fs/cgroup';

/** The control groups of a container that does not run: those of a run that was cut off stay. Only empty ones go. */
async function removeGroups(container: string): Promise<void> {
  for (const hierarchy of ['', ...(await namesIn(cgroupRoot))]) {
    await rmdir(join(cgroupRoot, hierarchy, 'docker', container)).catch(() => {}); // none there, or not empty
  }
}

function isRunning(config: string): boolean {
  try {
    return (JSON.parse(config) as { State?: { Running?: boolean } }).State?.Running === true;
  } catch {
    return false;
  }
}

/**
 * Removes what an engine that was killed left of containers that it was about to make: it makes the root of a container
 * before it writes the container down, and does not look for such roots when it comes back. The engine must not run.
 * @param directory its data root, on btrfs
 */
export async function sweepRoots(directory: string): Promise<void> {
  const mounts = join(directory, 'image/btrfs/layerdb/mounts');
  const roots = new Set<string>();
  for (const container of await namesIn(mounts)) {
    if (existsSync(join(directory, 'containers', container, 'config.v2.json'))) {
      roots.add(await readFile(join(mounts, container, 'mount-id'), 'utf8').catch(() => ''));
    } else {
      await rm(join(mounts, container), { recursive: true });
      await rm(join(directory, 'containers', container), { recursive: true, force: true });
    }
  }
  const subvolumes = join(directory, 'btrfs/subvolumes');
  const there = await namesIn(subvolumes);
  // Each root is made of one with what the engine adds to any image, which only containers have.
  const abandoned = there
    .filter((name) => name.endsWith(initSuffix))
    .map((name) => name.slice(0, -initSuffix.length))
    .filter((root) => !roots.has(root))
    .flatMap((root) => [root, `${root}${initSuffix}`])
    .filter((name) => there.includes(name))
    .map((name) => join(subvolumes, name));
  if (abandoned.length === 0) return;
  await runCommand(findTool('btrfs') ?? 'btrfs', ['subvolume', 'delete', ...abandoned], { timeoutMs: deleteMaxMs });
}

const initSuffix = '-init';
const deleteMaxMs = 60_000;

/** Names that an engine gives to the two ends of a cable. */
const cableName = /^veth[0-9a-f]{7}$/;

interface Link {
  readonly ifname: string;
  /** The other end, where it is in this network namespace. */
  readonly link?: string;
  readonly master?: string;
}

/**
 * Cables on the bridge of which no container got its end. An engine that was killed leaves them; one that runs has such a
 * cable for a moment, while it makes a container.
 * @returns the names of their ends on the bridge
 */
export async function looseCables(bridge: string): Promise<string[]> {
  const said = await runCommand(findTool('ip') ?? 'ip', ['-json', 'link', 'show', 'type', 'veth']);
  const links = JSON.parse(said || '[]') as readonly Link[];
  const isHere = (name: string | undefined) => links.some(({ ifname }) => ifname === name && cableName.test(ifname));
  return links
    .filter(({ ifname, link, master }) => master === bridge && cableName.test(ifname) && isHere(link))
    .map(({ ifname }) => ifname);
}

/** Removes those that are still loose. */
export async function removeCables(bridge: string, cables: readonly string[]): Promise<void> {
  if (cables.length === 0) return;
  const still = new Set(await looseCables(bridge));
  for (const cable of cables) {
    if (still.has(cable)) await runCommand(findTool('ip') ?? 'ip', ['link', 'delete', cable]).catch(() => {}); // gone
  }
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
