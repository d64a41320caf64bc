import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLogger } from '@cloudos/sdk';
import { VirtualClock } from '@cloudos/testing';
import { describe, expect, test } from 'vitest';
import hostLinux from './index.ts';
import { probeKvm } from './kvm-probe.ts';
import { cgroupVersion, type LinuxFacts, parseOsRelease, readLinuxFacts } from './linux-facts.ts';
import { inventoryOf, LinuxHost } from './linux-host.driver.ts';

const facts: LinuxFacts = {
  cores: 4,
  memoryBytes: 8_000_000_000,
  diskBytes: 100_000_000_000,
  pidsMax: 32_768,
  hostname: 'h',
  arch: 'x64',
  kernel: '6.1.0',
  os: 'debian',
  osVersion: '12',
  cgroup: 'v2',
  namespaces: ['mnt', 'pid'],
};

describe('inventory', () => {
  test('capacity is what there is less the reserve, never below zero', () => {
    const reserve = { cpuMillis: 500, memoryBytes: 1_000_000_000, diskBytes: 200_000_000_000, pids: 768 };
    const { capacity } = inventoryOf(facts, new Map(), 'absent', { reserve, labels: {} });
    expect(capacity).toEqual({ cpuMillis: 3_500, memoryBytes: 7_000_000_000, diskBytes: 0, pids: 32_000 });
  });
  test('attributes name the runtimes that were found, and labels win', () => {
    const reserve = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
    const labels = { zone: 'z1', os: 'special' };
    const { attributes } = inventoryOf(facts, new Map([['runc', '1.1.5']]), 'unproven', { reserve, labels });
    expect(attributes).toMatchObject({
      'runtime.runc': '1.1.5',
      kvm: 'unproven',
      zone: 'z1',
      os: 'special',
      cgroup: 'v2',
    });
  });
});

describe('facts', () => {
  test('os-release with and without quotes', () => {
    const text = '# comment\nID=debian\nVERSION_ID="12"\nNAME=\'A "B"\'\nnonsense\n';
    expect(parseOsRelease(text)).toEqual({ ID: 'debian', VERSION_ID: '12', NAME: 'A "B"' });
  });
  test('the version of control groups from the mounts', () => {
    const v1 = 'cgroup /sys/fs/cgroup/memory cgroup rw,memory 0 0\n';
    const v2 = 'cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n';
    expect([cgroupVersion(v1), cgroupVersion(v2), cgroupVersion(v1 + v2), cgroupVersion('')]).toEqual([
      'v1',
      'v2',
      'hybrid',
      'none',
    ]);
  });
  test('a root without any file gives defaults, not errors', async () => {
    const root = await mkdtemp(join(tmpdir(), 'cloudos-facts-'));
    try {
      const read = await readLinuxFacts({ root, dataDir: join(root, 'missing') });
      expect(read).toMatchObject({ os: 'linux', osVersion: '', cgroup: 'none', namespaces: [], diskBytes: 0 });
      expect(read.memoryBytes).toBeGreaterThan(0);
    } finally {
      await rm(root, { recursive: true, force: true });
    }
  });
});

describe('KVM', () => {
  test('an absent device is absent', async () => {
    expect(await probeKvm('/no/such/kvm')).toMatchObject({ state: 'absent' });
  });
  test('a device that cannot be opened is forbidden', async () => {
    expect(await probeKvm(tmpdir())).toMatchObject({ state: 'forbidden' });
  });
});

test('the inventory is told again when it has changed, and only then', async () => {
  const clock = new VirtualClock();
  const reserve = { cpuMillis: 0, memoryBytes: 0, diskBytes: 0, pids: 0 };
  let now = facts;
  let reads = 0;
  const host = await LinuxHost.open({
    dataDir: tmpdir(),
    reserve,
    labels: {},
    pollMs: 1_000,
    clock,
    logger: silentLogger,
    take: async () => {
      reads += 1;
      return inventoryOf(now, new Map(), 'absent', { reserve, labels: {} });
    },
  });
  const seen: number[] = [];
  let ended = false;
  host.inventory().subscribe({
    next: ({ capacity }) => seen.push(capacity.cpuMillis),
    complete: () => {
      ended = true;
    },
  });
  await clock.runFor(3_500);
  expect(reads).toBe(4);
  expect(seen).toEqual([4_000]);
  now = { ...facts, cores: 2 };
  await clock.runFor(1_000);
  expect(seen).toEqual([4_000, 2_000]);
  host.close();
  await clock.runFor(10_000);
  expect([reads, ended]).toEqual([5, true]);
});

test('a reserve below zero is refused', () => {
  expect(hostLinux.config.safeParse({ reserve: { cpuMillis: -1 } }).success).toBe(false);
  expect(hostLinux.config.safeParse({ reserves: {} }).success).toBe(false);
});
