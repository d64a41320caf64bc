import { constraint, owner, resourceVector } from '@cloudos/sdk';
import { z } from 'zod';

const resource = z.string().min(1);

/** Configuration of resources-mesos. Names of the master's flags in brackets. */
export const mesosConfig = z.strictObject({
  /** Events that one call decides at most; what is left follows at once. */
  decisionsMax: z.int().positive().max(65_536).default(4_096),
  /** Nodes that have room and are compared for each instance of an orchestrator of the stack. */
  candidates: z.int().positive().max(10_000).default(8),
  /** Grace for instances of workloads that were never declared, when they lose their place. */
  graceMs: z.int().nonnegative().default(30_000),
  /** Resources that do not count for fairness (fair_sharing_excluded_resource_names). */
  fairShareExcluded: z.array(resource).max(64).default([]),
  /** Weights of roles that have none by quota (weights). */
  weights: z.record(owner, z.number().positive()).default({}),
  /** Static reservations: on the node of that name, or on every node that meets the constraints. */
  reservations: z
    .array(
      z.strictObject({
        owner,
        node: z.string().min(1).optional(),
        constraints: z.array(constraint).max(16).default([]),
        resources: resourceVector,
      }),
    )
    .max(1_000)
    .default([]),
  /** How often offers are made to frameworks outside of the stack (allocation_interval). */
  allocationIntervalMs: z.int().positive().default(1_000),
  /** An offer that nobody has answered for so long is rescinded (offer_timeout). */
  offerTimeoutMs: z.int().positive().default(60_000),
  /** Offers made at once, and outstanding offers of one framework. */
  offersMax: z.int().positive().max(4_096).default(256),
  offersOutstandingMax: z.int().positive().max(65_536).default(1_024),
  /** What must be free on a node to be worth an offer: either of them (min_allocatable_resources). */
  offerMinCpuMillis: z.number().nonnegative().default(10),
  offerMinMemoryBytes: z
    .number()
    .nonnegative()
    .default(32 * 2 ** 20),
  /** Ports of each node that are offered. */
  offerPorts: z
    .strictObject({ begin: z.int().min(1).max(65_535), end: z.int().min(1).max(65_535) })
    .refine(({ begin, end }) => begin <= end, 'expected begin not to be above end')
    .default({ begin: 31_000, end: 32_000 }),
  /** A launch that was accepted is given up when no instance of it was requested for so long. */
  launchTimeoutMs: z.int().positive().default(60_000),
  /** Instances leave a node that long before its maintenance begins. */
  maintenanceLeadMs: z.int().nonnegative().default(60_000),
});
export type MesosConfig = z.infer<typeof mesosConfig>;
