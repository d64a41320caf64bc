import { loopVolumeMinBytes } from '@cloudos/host-tools';
import { z } from 'zod';
import { flavours } from './daemon-flavour.ts';

export const lxdConfig = z.strictObject({
  /**
   * `shared`: a daemon that somebody else runs, at `socket`. `own`: a daemon of the node's own, with its own directory,
   * started with the first guest. It outlives the kernel, as its containers do; `cloudos down` ends it.
   */
  daemon: z.enum(['shared', 'own']).default('shared'),
  /**
   * Which daemon. By default the one that there is, LXD before Incus; where an own one has begun with one of them, that.
   * What answers is said in the fingerprint (`features.server`).
   */
  flavour: z.enum(flavours).optional(),
  /** Socket of a shared daemon. By default where the packages of the flavour have it: `/var/lib/lxd/unix.socket`. */
  socket: z.string().startsWith('/', 'the absolute path of a unix socket').optional(),
  /**
   * Storage pool for the roots of guests. An own daemon makes it: of the driver `btrfs`, in a file of `diskMaxBytes`, where
   * the machine has btrfs and loop devices; of the driver `dir`, without limits of disk, where it does not.
   */
  pool: z.string().min(1).default('default'),
  /** The most that the pool of an own daemon holds. The file takes no more of the disk than is written to it. */
  diskMaxBytes: z
    .int()
    .min(loopVolumeMinBytes)
    .max(2 ** 50)
    .default(64 * 2 ** 30),
  /** Profiles that each guest has beside what is asked of it. Names as the daemon knows them. */
  profiles: z.array(z.string().min(1)).default([]),
  /** Directories of the node whose paths a guest may mount. None by default. */
  hostPaths: z.array(z.string().startsWith('/', 'an absolute path')).default([]),
  /** Of the current log file of each stream; one older file of that size is kept beside it. */
  logMaxBytes: z
    .int()
    .min(64 * 1024)
    .max(2 ** 40)
    .default(10 * 1024 * 1024),
  /** How long the daemon may take to answer, and an own one to come up. */
  daemonTimeoutMs: z.int().min(100).max(600_000).default(60_000),
  /** How often a daemon that is gone is looked for. */
  retryMs: z.int().min(50).max(3_600_000).default(1_000),
});
export type LxdConfig = z.infer<typeof lxdConfig>;
