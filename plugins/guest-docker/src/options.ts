import { loopVolumeMinBytes } from '@cloudos/host-tools';
import { z } from 'zod';

export const dockerConfig = z.strictObject({
  /**
   * `shared`: an engine that somebody else runs, at `socket`. `own`: a dockerd of the node's own, with its own socket and
   * directory, started when it is not there. It outlives the kernel, as its containers do; `cloudos down` ends it.
   */
  engine: z.enum(['shared', 'own']).default('shared'),
  /** Socket of a shared engine. */
  socket: z.string().startsWith('/', 'the absolute path of a unix socket').default('/var/run/docker.sock'),
  /**
   * The most that an own engine keeps, images and containers together: the size of the file that they lie in, which takes
   * no more of the disk than is written. Counts when the file is made. Limits of disk need it.
   */
  diskMaxBytes: z
    .int()
    .min(loopVolumeMinBytes)
    .max(2 ** 50)
    .default(64 * 2 ** 30),
  /** Whether the engine may fetch images that neither the image store nor the engine has. */
  pull: z.boolean().default(true),
  /** Directories of the node whose paths a guest may mount. None by default. */
  hostPaths: z.array(z.string().startsWith('/', 'an absolute path')).default([]),
  /** Of a container's log file; one older file of that size is kept beside it. */
  logMaxBytes: z
    .int()
    .min(64 * 1024)
    .max(2 ** 40)
    .default(10 * 1024 * 1024),
  /** How long the engine may take to answer, and an own one to come up. */
  engineTimeoutMs: z.int().min(100).max(600_000).default(30_000),
  /** How often an engine that is gone is looked for. */
  retryMs: z.int().min(50).max(3_600_000).default(1_000),
});
export type DockerConfig = z.infer<typeof dockerConfig>;
