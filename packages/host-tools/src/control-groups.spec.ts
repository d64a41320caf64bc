import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ControlGroups, findControlGroups } from './control-groups.ts';

let root: string;
const name = 'cloudos-test';
const limits = { cpuMillis: 250, memoryBytes: 64 * 2 ** 20, diskBytes: 0, pids: 20 };
const none = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'cloudos-groups-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A directory with the files that the kernel puts into a group of the unified hierarchy. */
function group(path: string, controllers: string, enabled = ''): string {
  const directory = join(root, path);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'cgroup.controllers'), `${controllers}\n`);
  writeFileSync(join(directory, 'cgroup.subtree_control'), enabled);
  writeFileSync(join(directory, 'cgroup.procs'), '');
  return directory;
}

const read = (...path: string[]) => readFileSync(join(root, ...path), 'utf8');

describe('the unified hierarchy (v2)', () => {
  const mounts = () => `cgroup2 ${root} cgroup2 rw,nosuid 0 0\n`;

  test('as root: at the top, with the controllers enabled on the way', async () => {
    group('', 'cpuset cpu io memory pids', 'memory');
    group(name, 'cpu memory pids');
    const layout = findControlGroups({ mounts: mounts(), self: '0::/init.scope\n', root: true, name });
    expect(layout).toMatchObject({ version: 'v2', warnings: [] });
    expect(layout.v2?.controllers).toEqual(['cpu', 'memory', 'pids']);
  });

  test('limits, shares and the way back', async () => {
    group('', 'cpu memory pids');
    group(name, 'cpu memory pids');
    const groups = new ControlGroups(findControlGroups({ mounts: mounts(), self: '0::/\n', root: true, name }));
    const joined = await groups.make('web', limits, { ...none, cpuMillis: 500 });
    expect(joined).toEqual([join(root, name, 'web')]);
    expect(read(name, 'web', 'memory.max')).toBe(String(64 * 2 ** 20));
    expect(read(name, 'web', 'cpu.max')).toBe('25000 100000');
    expect(read(name, 'web', 'cpu.weight')).toBe('20');
    expect(read(name, 'web', 'pids.max')).toBe('21');
    expect(groups.oomFile('web')).toBe(join(root, name, 'web', 'memory.events'));
    groups.setFrozen('web', true);
    expect(read(name, 'web', 'cgroup.freeze')).toBe('1');
    writeFileSync(join(root, name, 'web', 'cgroup.events'), 'populated 1\nfrozen 1\n');
    expect(groups.isFrozen('web')).toBe(true);
  });

  test('no limit asked for is no limit set', async () => {
    group('', 'cpu memory pids');
    group(name, 'cpu memory pids');
    const groups = new ControlGroups(findControlGroups({ mounts: mounts(), self: '0::/\n', root: true, name }));
    await groups.make('web', none, none);
    for (const file of ['memory.max', 'cpu.max', 'pids.max']) expect(() => read(name, 'web', file)).toThrow('ENOENT');
    expect(read(name, 'web', 'cpu.weight')).toBe('1');
  });

  test('use is read where the controllers are', async () => {
    group('', 'cpu memory pids');
    group(name, 'cpu memory pids');
    const groups = new ControlGroups(findControlGroups({ mounts: mounts(), self: '0::/\n', root: true, name }));
    await groups.make('web', none, none);
    writeFileSync(join(root, name, 'web', 'cpu.stat'), 'usage_usec 1500\nuser_usec 1000\n');
    writeFileSync(join(root, name, 'web', 'memory.current'), '4096\n');
    writeFileSync(join(root, name, 'web', 'pids.current'), '3\n');
    expect(groups.stats('web')).toEqual({ cpuNanos: 1_500_000, memoryBytes: 4_096, pids: 3 });
  });

  test('as an ordinary user in a delegated scope: beside it, never inside of it', async () => {
    group('user.slice/app.slice', 'cpu memory pids');
    group('user.slice/app.slice/run.scope', 'cpu memory pids');
    group(`user.slice/app.slice/${name}`, 'cpu memory pids');
    const self = '0::/user.slice/app.slice/run.scope\n';
    const layout = findControlGroups({ mounts: mounts(), self, root: false, name });
    expect(layout.v2).toEqual({
      parent: join(root, 'user.slice/app.slice', name),
      controllers: ['cpu', 'memory', 'pids'],
    });
  });

  test('a controller that is not delegated is warned about, with the remedy', async () => {
    group('', 'memory pids');
    group(name, 'memory pids');
    const layout = findControlGroups({ mounts: mounts(), self: '0::/\n', root: true, name });
    expect(layout.v2?.controllers).toEqual(['memory', 'pids']);
    expect(layout.warnings).toHaveLength(1);
    expect(layout.warnings[0]?.reason).toContain('cpu');
    const groups = new ControlGroups(layout);
    expect([groups.holds('memory'), groups.holds('cpu')]).toEqual([true, false]);
    await groups.make('web', limits, none);
    expect(() => read(name, 'web', 'cpu.max')).toThrow('ENOENT');
  });
});

describe('v1 hierarchies', () => {
  test('each controller in its own; the unified one beside them for freezing', async () => {
    for (const controller of ['memory', 'cpu', 'pids']) mkdirSync(join(root, controller));
    group('unified', '');
    group(`unified/${name}`, '');
    const lines = ['memory', 'cpu', 'pids'].map((kind) => `cgroup ${root}/${kind} cgroup rw,relatime,${kind} 0 0`);
    const mounts = [...lines, `cgroup2 ${root}/unified cgroup2 rw 0 0`].join('\n');
    const layout = findControlGroups({ mounts, self: '4:memory:/somewhere\n0::/\n', root: true, name });
    expect(layout).toMatchObject({ version: 'v1', warnings: [], v2: { controllers: [] } });
    const groups = new ControlGroups(layout);
    expect(await groups.make('web', limits, none)).toHaveLength(4);
    expect(read('memory', name, 'web', 'memory.limit_in_bytes')).toBe(String(64 * 2 ** 20));
    expect(read('cpu', name, 'web', 'cpu.cfs_quota_us')).toBe('25000');
    expect(read('pids', name, 'web', 'pids.max')).toBe('21');
    expect(groups.oomFile('web')).toBe(join(root, 'memory', name, 'web', 'memory.oom_control'));
    expect(groups.shimGroup()).toBeUndefined();
  });

  test('without any hierarchy nothing holds, and that is said', async () => {
    const layout = findControlGroups({ mounts: '', self: '', root: false, name });
    expect(layout.version).toBe('none');
    expect(layout.warnings.map(({ reason }) => /with the (\w+)/.exec(reason)?.[1])).toEqual(['memory', 'cpu', 'pids']);
    for (const { remedy } of layout.warnings) expect(remedy).toContain('systemd-run');
    expect(await new ControlGroups(layout).make('web', limits, none)).toEqual([]);
  });
});
