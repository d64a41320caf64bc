import { z } from 'zod';
import { resourceVector } from '../resources.ts';
import { guestLimits } from '../workload.ts';

const node = z.string().min(1);
const instance = z.string().min(1);
const guest = { instance, node };
/** Which run of the instance: 1 at first, one more after each restart. */
const attempt = z.int().positive();

export const runtimeInfo = z.object({
  name: z.string(),
  version: z.string(),
  features: z.record(z.string(), z.union([z.boolean(), z.string(), z.number()])).default({}),
});

export const exitReason = z.enum(['exited', 'signalled', 'oom-killed', 'stopped', 'lost']);

/** What a node agent records, in the stream `node-<id>` of its node. */
export const nodeEvents = {
  NodeJoined: {
    doc: 'A node offers its capacity. Also after a restart, when anything about it has changed.',
    schema: z.object({
      node,
      /** What guests may use in all. */
      capacity: resourceVector,
      /** Facts that constraints refer to: `os`, `arch`, `kernel`, `zone`, … */
      attributes: z.record(z.string(), z.string()),
      runtimes: z.array(runtimeInfo),
    }),
  },
  NodeCapacityChanged: {
    doc: 'The capacity or the runtimes of a node are different from now on.',
    schema: z.object({ node, capacity: resourceVector, runtimes: z.array(runtimeInfo) }),
  },
  NodeLeft: { doc: 'A node was taken out of the stack.', schema: z.object({ node, reason: z.string() }) },
  GuestCreated: {
    doc: 'The guest exists on the node and is not running yet. `handle` is what the driver needs to adopt it.',
    schema: z.object({ ...guest, runtime: z.string(), handle: z.unknown() }),
  },
  GuestStarted: {
    doc: 'The guest runs. `address.ports` maps a port of the template to the port at `host`, where they differ.',
    schema: z.object({
      ...guest,
      runtime: z.string(),
      attempt,
      address: z.object({ host: z.string(), ports: z.record(z.string(), z.int().positive()).optional() }).optional(),
      pid: z.int().positive().optional(),
    }),
  },
  GuestHealthy: {
    doc: 'A readiness or startup probe began to succeed, or a guest that was held goes on. A guest without a readiness probe is ready when started; one of several containers when all of them run and the readiness probe of each that has one succeeds.',
    schema: z.object({ ...guest, attempt, probe: z.enum(['readiness', 'liveness', 'startup']) }),
  },
  GuestUnhealthy: {
    doc: 'A probe failed as often as its threshold; or a container beside the first has ended (`readiness`); or, with a `code`, the runtime holds the guest for that reason.',
    schema: z.object({
      ...guest,
      attempt,
      probe: z.enum(['readiness', 'liveness', 'startup']),
      reason: z.string(),
      code: z.string().optional(),
      remedy: z.string().optional(),
    }),
  },
  GuestExited: {
    doc: 'The guest does not run any more. Its remains are on the node until GuestRemoved or the next start.',
    schema: z.object({
      ...guest,
      attempt,
      exitCode: z.int().nullable(),
      signal: z.string().nullable(),
      reason: exitReason,
      message: z.string().optional(),
    }),
  },
  GuestContainerExited: {
    doc: 'A container beside the first has ended, and its guest goes on. It is run again after `backOffMs`; without that, not in this run of the guest. `message` says which probe it was ended for.',
    schema: z.object({
      ...guest,
      attempt,
      container: z.string().min(1),
      /** How often it had been run again in this run of the guest. */
      restarts: z.int().nonnegative(),
      exitCode: z.int().nullable(),
      signal: z.string().nullable(),
      reason: exitReason,
      message: z.string().optional(),
      backOffMs: z.int().nonnegative().optional(),
    }),
  },
  GuestContainerStarted: {
    doc: 'A container beside the first was run again. `restarts` counts that in this run of the guest.',
    schema: z.object({ ...guest, attempt, container: z.string().min(1), restarts: z.int().positive() }),
  },
  GuestFailed: {
    doc: 'The driver could not do what was asked. The instance stays where it is; the orchestrator decides.',
    schema: z.object({
      ...guest,
      attempt,
      stage: z.enum(['create', 'start', 'stop', 'remove', 'adopt']),
      code: z.string(),
      reason: z.string(),
      remedy: z.string().optional(),
    }),
  },
  GuestRemoved: {
    doc: 'Nothing of the guest is left on the node. Its resources are free.',
    schema: z.object({ ...guest }),
  },
  GuestResized: {
    doc: 'The guest has these limits from now on. It was not restarted for it.',
    schema: z.object({ ...guest, ...guestLimits.shape }),
  },
  GuestResizeFailed: {
    doc: 'The guest keeps the limits that it has: it does not take these in place. A guest that is made anew gets them.',
    schema: z.object({
      ...guest,
      ...guestLimits.shape,
      code: z.string(),
      reason: z.string(),
      remedy: z.string().optional(),
    }),
  },
  GuestSnapshotted: {
    doc: 'The state of the guest was saved under a name.',
    schema: z.object({ ...guest, snapshot: z.string(), sizeBytes: z.int().nonnegative() }),
  },
  GuestUsageEstimated: {
    doc: 'What the guest is expected to need at most: a decayed peak. Recorded only when it has changed by much.',
    schema: z.object({ ...guest, usage: resourceVector }),
  },
} as const;
