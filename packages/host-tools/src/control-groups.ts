import { accessSync, constants, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { CloudosError, type GuestStats, type ResourceVector } from '@cloudos/sdk';
import { writeLimits } from './control-group-limits.ts';

export type Controller = 'memory' | 'cpu' | 'cpuacct' | 'pids' | 'freezer';

/** Where control groups for zones can be made on this host. Parents are directories of this driver alone. */
export interface ControlGroupLayout {
  readonly version: 'v1' | 'v2' | 'none';
  /** v1: parent directory by controller. */
  readonly v1: Readonly<Partial<Record<Controller, string>>>;
  /** Parent in the unified hierarchy, with the controllers that are enabled below it (none in a hybrid layout). */
  readonly v2?: { readonly parent: string; readonly controllers: readonly string[] };
  readonly warnings: readonly { readonly reason: string; readonly remedy: string }[];
}

export interface LayoutQuestion {
  /** Content of /proc/self/mounts. */
  readonly mounts: string;
  /** Content of /proc/self/cgroup. */
  readonly self: string;
  readonly root: boolean;
  /** Name of the driver's parent directory: one for each data directory. */
  readonly name: string;
}

const wanted: readonly Controller[] = ['memory', 'cpu', 'cpuacct', 'pids', 'freezer'];

/**
 * Finds out where limits can be set, by making the parents. As root at the top of each hierarchy; otherwise only where
 * a part of the tree was delegated to the user (systemd: `Delegate=yes`).
 * Kernel documentation: admin-guide/cgroup-v1, admin-guide/cgroup-v2.rst ("Delegation", "No Internal Process").
 */
export function findControlGroups(question: LayoutQuestion): ControlGroupLayout {
  const v1: Partial<Record<Controller, string>> = {};
  let unified: string | undefined;
  for (const line of question.mounts.split('\n')) {
    const [, target = '', type, options = ''] = line.split(' ');
    if (type === 'cgroup2') unified ??= unescapeMount(target);
    if (type !== 'cgroup') continue;
    for (const controller of wanted) {
      if (!options.split(',').includes(controller)) continue;
      const base = question.root ? '' : pathOf(question.self, controller);
      const parent = join(unescapeMount(target), base, question.name);
      if (tryMake(parent)) v1[controller] = parent;
    }
  }
  const v2 = unified === undefined ? undefined : delegated(unified, question);
  const version = v1.memory || v1.cpu || v1.pids ? 'v1' : v2?.controllers.length ? 'v2' : 'none';
  const missing = (['memory', 'cpu', 'pids'] as const).filter(
    (controller) => !v1[controller] && !v2?.controllers.includes(controller),
  );
  const warnings = missing.map((controller) => ({
    reason: `no writable control group with the ${controller} controller: a ${controller} limit does not hold here`,
    remedy: question.root
      ? `mount the ${controller} controller, or start outside of a container`
      : 'run as root, or in a delegated scope: systemd-run --user --scope -p Delegate=yes <command>',
  }));
  return { version, v1, ...(v2 ? { v2 } : {}), warnings };
}

/** Finds a place in the unified hierarchy whose children may have processes and controllers. */
function delegated(mount: string, { self, root, name }: LayoutQuestion): ControlGroupLayout['v2'] {
  const candidates = root ? [mount] : ancestors(mount, pathOf(self, ''));
  for (const base of candidates) {
    if (!root && !isWritable(join(base, 'cgroup.procs'))) continue;
    const parent = join(base, name);
    if (!tryMake(parent)) continue;
    const offered = words(join(base, 'cgroup.controllers'));
    const controllers = ['cpu', 'memory', 'pids'].filter((controller) => offered.includes(controller));
    const enabled = controllers.filter(
      (controller) =>
        tryWrite(
          join(base, 'cgroup.subtree_control'),
          `+${controller}`,
          words(join(base, 'cgroup.subtree_control')).includes(controller),
        ) && tryWrite(join(parent, 'cgroup.subtree_control'), `+${controller}`),
    );
    if (enabled.length > 0 || controllers.length === 0 || root) return { parent, controllers: enabled };
    tryRemove(parent);
  }
  return undefined;
}

/** From the parent of our own group upwards: our own holds processes, so its children cannot have controllers. */
function ancestors(mount: string, self: string): string[] {
  const list: string[] = [];
  for (let path = dirname(join('/', self)); path !== '/'; path = dirname(path)) list.push(join(mount, path));
  return list;
}

function pathOf(self: string, controller: string): string {
  for (const line of self.split('\n')) {
    const [, controllers = '', ...path] = line.split(':');
    if (controllers.split(',').includes(controller)) return path.join(':');
  }
  return '/';
}

/** The control groups of the zones: one directory a zone in each hierarchy. */
export class ControlGroups {
  readonly layout: ControlGroupLayout;

  constructor(layout: ControlGroupLayout) {
    this.layout = layout;
  }

  holds(controller: 'memory' | 'cpu' | 'pids'): boolean {
    return this.layout.v1[controller] !== undefined || (this.layout.v2?.controllers.includes(controller) ?? false);
  }

  get canFreeze(): boolean {
    return this.layout.v2 !== undefined || this.layout.v1.freezer !== undefined;
  }

  /** Directories of a zone, in each hierarchy that there is. */
  directories(zone: string): string[] {
    const parents = [...Object.values(this.layout.v1), ...(this.layout.v2 ? [this.layout.v2.parent] : [])];
    return [...new Set(parents)].map((parent) => join(parent, zone));
  }

  /**
   * Makes the groups of a zone anew with these limits (0: none) and returns the directories to join. The kernel takes
   * milliseconds for each, under a lock of all groups: other zones are not kept waiting for it.
   */
  async make(zone: string, limits: ResourceVector, requests: ResourceVector): Promise<string[]> {
    const directories = this.directories(zone);
    await Promise.all(
      directories.map(async (directory) => {
        tryRemove(directory);
        await mkdir(directory, { recursive: true });
      }),
    );
    writeLimits(this.layout, zone, limits, requests, { fresh: true });
    return directories;
  }

  /**
   * Gives the groups of a zone that may be running other limits (0: none).
   * @throws CloudosError GUEST_STATE when it uses more memory than it shall have
   */
  change(zone: string, limits: ResourceVector, requests: ResourceVector): void {
    const refuse = (cause?: unknown) => {
      throw new CloudosError('GUEST_STATE', `it uses more memory than ${limits.memoryBytes} bytes`, {
        cause,
        remedy: 'give it more, or let it give memory back first',
      });
    };
    const { v2 } = this.layout;
    // In the unified hierarchy what is over a new limit is killed for it; in the old ones the limit is refused.
    const fixed = v2?.controllers.includes('memory') ? keyed(join(v2.parent, zone, 'memory.stat'), 'anon') : undefined;
    if (limits.memoryBytes > 0 && fixed !== undefined && fixed > limits.memoryBytes) refuse();
    try {
      writeLimits(this.layout, zone, limits, requests, { fresh: false });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EBUSY') refuse(error);
      throw error;
    }
  }

  /** Where the processes around the zones live, so that stopping a service of systemd does not end them with it. */
  shimGroup(): string | undefined {
    const { v2 } = this.layout;
    if (!v2 || this.layout.version !== 'v2') return undefined;
    const directory = join(v2.parent, 'shims');
    return tryMake(directory) ? directory : undefined;
  }

  /** The file with the count of out-of-memory kills (`oom_kill <n>`). */
  oomFile(zone: string): string | undefined {
    const { v1, v2 } = this.layout;
    if (v1.memory) return join(v1.memory, zone, 'memory.oom_control');
    return v2?.controllers.includes('memory') ? join(v2.parent, zone, 'memory.events') : undefined;
  }

  stats(zone: string): GuestStats {
    const { v1, v2 } = this.layout;
    const unified = v2 ? join(v2.parent, zone) : undefined;
    const has = (controller: string) => unified !== undefined && (v2?.controllers.includes(controller) ?? false);
    const usec = unified === undefined ? undefined : keyed(join(unified, 'cpu.stat'), 'usage_usec');
    const values = {
      cpuNanos: v1.cpuacct
        ? number(join(v1.cpuacct, zone, 'cpuacct.usage'))
        : usec === undefined
          ? undefined
          : usec * 1000,
      memoryBytes: v1.memory
        ? number(join(v1.memory, zone, 'memory.usage_in_bytes'))
        : has('memory')
          ? number(join(unified ?? '', 'memory.current'))
          : undefined,
      memoryPeakBytes: v1.memory
        ? number(join(v1.memory, zone, 'memory.max_usage_in_bytes'))
        : has('memory')
          ? number(join(unified ?? '', 'memory.peak'))
          : undefined,
      pids: v1.pids
        ? number(join(v1.pids, zone, 'pids.current'))
        : has('pids')
          ? number(join(unified ?? '', 'pids.current'))
          : undefined,
    };
    return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined));
  }

  /** Begins to freeze or thaw. Whether it is done is told by {@link isFrozen}. */
  setFrozen(zone: string, frozen: boolean): void {
    const { v1, v2 } = this.layout;
    if (v2) writeFileSync(join(v2.parent, zone, 'cgroup.freeze'), frozen ? '1' : '0');
    else if (v1.freezer) writeFileSync(join(v1.freezer, zone, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
  }

  isFrozen(zone: string): boolean {
    const { v1, v2 } = this.layout;
    if (v2) return keyed(join(v2.parent, zone, 'cgroup.events'), 'frozen') === 1;
    return v1.freezer !== undefined && words(join(v1.freezer, zone, 'freezer.state'))[0] === 'FROZEN';
  }

  /** Removes the groups of a zone. True when they are gone; false as long as a process is still ending in them. */
  remove(zone: string): boolean {
    return this.directories(zone)
      .map((directory) => tryRemove(directory))
      .every((gone) => gone);
  }

  /**
   * Removes the parents, and with them every trace: also in hierarchies that this does not use, where tools that were
   * given the name of the parent (runc) made it. Guests come first.
   */
  removeParents(): void {
    const parents = this.directories('');
    const names = new Set(parents.map((directory) => basename(directory)));
    const everywhere = hierarchies().flatMap((hierarchy) => [...names].map((name) => join(hierarchy, name)));
    for (const directory of new Set([...parents, ...everywhere])) {
      for (const name of directoriesIn(directory)) tryRemove(join(directory, name));
      tryRemove(directory);
    }
  }
}

/** Where hierarchies of control groups are mounted. */
function hierarchies(): string[] {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .map((line) => line.split(' '))
    .filter(([, , type]) => type === 'cgroup' || type === 'cgroup2')
    .map(([, target = '']) => unescapeMount(target));
}

function words(path: string): string[] {
  try {
    return readFileSync(path, 'utf8').trim().split(/\s+/);
  } catch {
    return [];
  }
}

function number(path: string): number | undefined {
  const value = Number(words(path)[0]);
  return Number.isFinite(value) ? value : undefined;
}

function keyed(path: string, key: string): number | undefined {
  const all = words(path);
  const index = all.indexOf(key);
  return index < 0 ? undefined : Number(all[index + 1]);
}

function directoriesIn(path: string): string[] {
  try {
    return readdirSync(path, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
  } catch {
    return [];
  }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function tryMake(path: string): boolean {
  try {
    mkdirSync(path, { recursive: true });
    return true;
  } catch {
    return false;
  }
}

function tryWrite(path: string, text: string, already = false): boolean {
  if (already) return true;
  try {
    writeFileSync(path, text, { flag: 'r+' });
    return true;
  } catch {
    return false;
  }
}

function tryRemove(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT';
  }
}

function unescapeMount(text: string): string {
  return text.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
