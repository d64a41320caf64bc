import { listenConfig } from '@cloudos/native-api';
import { z } from 'zod';

/** Configuration of api-mesos. */
export const mesosApiConfig = z.strictObject({
  /** 5050 is the port of a Mesos master. Frameworks send no token. */
  ...listenConfig({ port: 5050, token: 'none' }),
  /** Between two HEARTBEAT events; clients give a connection up after a few of them, or after 10 s. */
  heartbeatIntervalMs: z.int().positive().max(60_000).default(5_000),
  /** An update without an acknowledgement is sent again after that long, twice as long each time up to the maximum. */
  updateRetryMs: z.int().positive().default(10_000),
  updateRetryMaxMs: z.int().positive().default(600_000),
  /** After a start, frameworks that were connected have that long to subscribe again before they count as gone. */
  resubscribeGraceMs: z.int().nonnegative().default(30_000),
  /** Frameworks that are subscribed at the same time. */
  frameworksMax: z.int().positive().default(256),
  /** Tasks of one framework that are not ended and acknowledged. */
  tasksMax: z.int().positive().default(100_000),
  /** Bytes of events that wait for one framework; beyond, its connection is ended. */
  streamBufferMaxBytes: z
    .int()
    .positive()
    .default(8 * 2 ** 20),
  /** Bytes of one call. */
  bodyMaxBytes: z
    .int()
    .positive()
    .default(4 * 2 ** 20),
  /** Image of tasks that name none. */
  image: z.string().min(1).default('host:'),
});
export type MesosApiConfig = z.infer<typeof mesosApiConfig>;
