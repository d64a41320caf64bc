import { type Dirent, existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { digest } from '@cloudos/host-tools';

/** Where a guest driver keeps what is its own, and what it shares with the other drivers of the machine. */
export interface GuestDirectories {
  readonly dataDir: string;
  readonly stateDir: string;
}

const cgroupRoot = '/sys/fs/cgroup';
/** Below a hierarchy: the group of a driver, those of its guests, and what a guest makes in its own. */
const groupDepth = 4;

/**
 * Everything on this machine that guests of one driver could leave behind, each kind as a sorted list of names. Two that
 * are equal mean that nothing was left in between. Reads what the kernel shows (`/proc`, `/sys`) and the directories of
 * the driver; other drivers and other programs of the machine do not show in it.
 *
 * What only the runtime knows, as the containers of an engine, is not in it.
 */
export function guestTraces({ dataDir, stateDir }: GuestDirectories): Readonly<Record<string, readonly string[]>> {
  const marks = [dataDir, stateDir, digest(dataDir, 10)];
  const isOurs = (text: string) => marks.some((mark) => text.includes(mark));
  const network = join(stateDir, 'network');
  const nodes = namesIn(network);
  return {
    processes: processes().filter(isOurs),
    mounts: lines('/proc/self/mounts').filter(isOurs),
    controlGroups: groupsBelow(cgroupRoot, groupDepth + 1).filter(isOurs),
    loopDevices: namesIn('/sys/block').filter((name) => isOurs(read(`/sys/block/${name}/loop/backing_file`))),
    links: nodes.flatMap((node) => linksOf(join(network, node, 'network.json'))),
    addresses: nodes.flatMap((node) => namesIn(join(network, node, 'addresses'))),
    imagesInUse: namesIn(join(stateDir, 'images', 'holds')),
    files: namesIn(dataDir).flatMap((name) => [
      name,
      ...namesIn(join(dataDir, name)).map((below) => join(name, below)),
    ]),
  };
}

/** The command line and the control groups of each process, without its id: a process that was replaced is no trace. */
function processes(): string[] {
  return namesIn('/proc')
    .filter((name) => /^\d+$/.test(name) && Number(name) !== process.pid)
    .map((pid) => `${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')} ${read(`/proc/${pid}/cgroup`)}`)
    .sort();
}

function groupsBelow(path: string, depth: number): string[] {
  if (depth === 0) return [];
  return entriesOf(path)
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [join(path, name), ...groupsBelow(join(path, name), depth - 1)])
    .sort();
}

/** The interfaces on the bridge of a node. */
function linksOf(file: string): string[] {
  if (!existsSync(file)) return [];
  const { bridge } = JSON.parse(read(file)) as { bridge: string };
  return namesIn(`/sys/class/net/${bridge}/brif`);
}

function namesIn(path: string): string[] {
  return entriesOf(path)
    .map(({ name }) => name)
    .sort();
}

/** Nothing where it is not there, or went away meanwhile. */
function entriesOf(path: string): Dirent[] {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function lines(path: string): string[] {
  return read(path).split('\n').filter(Boolean);
}
