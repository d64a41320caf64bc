import { definePlugin } from '@cloudos/sdk';
import { z } from 'zod';
import { LmdbEventLog } from './lmdb.log.ts';

/** The embedded durable log. */
export default definePlugin({
  name: 'log-lmdb',
  slot: 'log',
  apiVersion: 1,
  description: 'Embedded durable event log on LMDB',
  supports: { durable: true, trim: true },
  config: z.object({
    /** Directory of the log (default: the data directory of the plugin). Must be on a local disk. */
    path: z.string().min(1).optional(),
    /** Address space to map at first; it grows by itself. */
    mapSizeBytes: z
      .int()
      .min(1024 * 1024)
      .default(256 * 1024 * 1024),
  }),
  create: ({ scope, clock, newId, dataDir, fail }, { path, mapSizeBytes }) =>
    scope.acquire(
      'event log',
      () => LmdbEventLog.open({ directory: path ?? dataDir, clock, newId, mapSizeBytes, onFailure: fail }),
      (log) => log.close(),
      30_000,
    ),
});
