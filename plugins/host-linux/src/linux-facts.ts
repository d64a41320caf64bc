import { lstatSync, readFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { arch, availableParallelism, hostname, release, totalmem } from 'node:os';
import { join } from 'node:path';

/** Where facts are read. Replaced in specs by a directory with the same files. */
export interface FactsOptions {
  /** Default `/`. */
  readonly root?: string;
  /** The disk that guests use. */
  readonly dataDir: string;
}

export interface LinuxFacts {
  readonly cores: number;
  readonly memoryBytes: number;
  /** Free and used together, of the file system that holds the data. */
  readonly diskBytes: number;
  /** Processes that the kernel allows in all. */
  readonly pidsMax: number;
  readonly hostname: string;
  readonly arch: string;
  readonly kernel: string;
  /** `ID` and `VERSION_ID` of os-release(5). */
  readonly os: string;
  readonly osVersion: string;
  readonly cgroup: 'v1' | 'v2' | 'hybrid' | 'none';
  /** Kinds of namespaces that the kernel has: namespaces(7). */
  readonly namespaces: readonly string[];
}

const namespaceKinds = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'time', 'user', 'uts'];

/** Reads what a Linux host is. A file that is not there counts as empty. */
export async function readLinuxFacts({ root = '/', dataDir }: FactsOptions): Promise<LinuxFacts> {
  const read = (path: string) => readOr(join(root, path));
  const osRelease = parseOsRelease(read('etc/os-release') || read('usr/lib/os-release'));
  const disk = await statfs(dataDir).catch(() => undefined);
  return {
    cores: availableParallelism(),
    memoryBytes: memoryTotal(read('proc/meminfo')) ?? totalmem(),
    diskBytes: disk ? disk.blocks * disk.bsize : 0,
    pidsMax: Math.min(
      positive(read('proc/sys/kernel/pid_max')) ?? 32_768,
      positive(read('proc/sys/kernel/threads-max')) ?? Number.MAX_SAFE_INTEGER,
    ),
    hostname: hostname(),
    arch: arch(),
    kernel: release(),
    os: osRelease.ID ?? 'linux',
    osVersion: osRelease.VERSION_ID ?? '',
    cgroup: cgroupVersion(read('proc/self/mounts')),
    namespaces: namespaceKinds.filter((kind) => isThere(join(root, 'proc/self/ns', kind))),
  };
}

/** os-release(5): shell-like assignments, values with or without quotes. */
export function parseOsRelease(text: string): Readonly<Record<string, string>> {
  const entries = text.split('\n').flatMap((line) => {
    const match = /^([A-Z0-9_]+)=(.*)$/.exec(line.trim());
    if (!match?.[1]) return [];
    const value = (match[2] ?? '').replace(/^(["'])(.*)\1$/, '$2').replace(/\\(["'$`\\])/g, '$1');
    return [[match[1], value] as const];
  });
  return Object.fromEntries(entries);
}

/** From the mounted hierarchies; `hybrid` where limits are v1 and the unified hierarchy is mounted beside it. */
export function cgroupVersion(mounts: string): LinuxFacts['cgroup'] {
  const types = new Set(mounts.split('\n').map((line) => line.split(' ')[2]));
  if (types.has('cgroup')) return types.has('cgroup2') ? 'hybrid' : 'v1';
  return types.has('cgroup2') ? 'v2' : 'none';
}

function memoryTotal(meminfo: string): number | undefined {
  const kibibytes = positive(/^MemTotal:\s+(\d+)/m.exec(meminfo)?.[1] ?? '');
  return kibibytes === undefined ? undefined : kibibytes * 1024;
}

function positive(text: string): number | undefined {
  const value = Number.parseInt(text, 10);
  return value > 0 ? value : undefined;
}

function readOr(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function isThere(path: string): boolean {
  try {
    lstatSync(path);
    return true;
  } catch {
    return false;
  }
}
