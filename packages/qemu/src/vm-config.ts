import { networkConfig } from '@cloudos/node-network';
import { z } from 'zod';

/** Fields of configuration that the runtimes on QEMU share, for a `z.strictObject`. */
export const vmConfigShape = {
  network: networkConfig,
  /** `auto`: KVM where a timed probe proves it sound, else TCG. */
  accelerator: z.enum(['auto', 'kvm', 'tcg']).default('auto'),
  /** User that QEMU runs as, where the driver is root. */
  user: z.int().min(1).max(0x7fff_ffff).default(1000),
  logs: z
    .strictObject({
      /** Of the current file of each stream; one older file of that size is kept beside it. */
      maxBytes: z
        .int()
        .min(64 * 1024)
        .max(2 ** 40)
        .default(10 * 1024 * 1024),
    })
    .prefault({}),
  /** How long the start of a guest may take. */
  startTimeoutMs: z.int().min(100).max(600_000).default(30_000),
  /** How often all guests are looked at, besides the ends that are announced. */
  pollMs: z.int().min(100).max(600_000).default(2_000),
  /** How often a host that cannot run guests is tried again. */
  retryMs: z.int().min(1_000).max(3_600_000).default(30_000),
} as const;
