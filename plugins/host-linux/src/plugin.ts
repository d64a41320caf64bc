import { mkdir } from 'node:fs/promises';
import { CloudosError, definePlugin } from '@cloudos/sdk';
import { z } from 'zod';
import { LinuxHost } from './linux-host.driver.ts';

const mebibyte = 2 ** 20;

export const linuxHostConfig = z.strictObject({
  /** What the host keeps for itself; guests may use the rest. */
  reserve: z
    .strictObject({
      cpuMillis: z.int().nonnegative().default(100),
      memoryBytes: z
        .int()
        .nonnegative()
        .default(256 * mebibyte),
      diskBytes: z
        .int()
        .nonnegative()
        .default(1024 * mebibyte),
      pids: z.int().nonnegative().default(1024),
    })
    .prefault({}),
  /** Further attributes for constraints: `zone`, `rack`, …. They win over those that were found. */
  labels: z.record(z.string().min(1), z.string()).default({}),
  /** How often the inventory is read again. */
  pollMs: z.int().min(100).max(3_600_000).default(30_000),
});
export type LinuxHostConfig = z.infer<typeof linuxHostConfig>;

/** Inventory of the Linux machine that the kernel runs on. */
export const hostLinux = definePlugin({
  name: 'host-linux',
  slot: 'host',
  apiVersion: 1,
  description: 'The Linux machine that the kernel runs on: what it has, what it is, and what it lacks',
  config: linuxHostConfig,
  async create({ scope, clock, logger, dataDir }, config) {
    if (process.platform !== 'linux') {
      throw new CloudosError('PLUGIN_REQUIREMENT', `host-linux needs Linux and runs on ${process.platform}`, {
        remedy: 'use host-simulated, or run on Linux',
      });
    }
    await mkdir(dataDir, { recursive: true, mode: 0o700 });
    return scope.acquire(
      'inventory of the host',
      () => LinuxHost.open({ dataDir, clock, logger, ...config }),
      (host) => host.close(),
    );
  },
});
