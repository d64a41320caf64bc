import { z } from 'zod';

/** Configuration of resources-borg. */
export const borgConfig = z.strictObject({
  /** Events that one call decides at most; what is left follows at once. */
  decisionsMax: z.int().positive().max(65_536).default(4_096),
  /** Feasible nodes that are compared for each placement. */
  candidates: z.int().positive().max(10_000).default(16),
  /** Whether instances of a higher band may push out those of a lower one. */
  preemption: z.boolean().default(true),
  /** Node attributes over whose values the instances of a workload are spread. */
  failureDomains: z.array(z.string().min(1)).max(8).default(['zone', 'rack']),
  /** Grace for preempted instances whose workload was never declared. */
  graceMs: z.int().nonnegative().default(30_000),
  /** Node attribute that names cells; without it all nodes are one cell. */
  cells: z.string().min(1).optional(),
  /** Lends resources that are reserved and not used to best-effort work; without it nothing is lent. */
  reclamation: z
    .strictObject({
      /** What is kept on top of the estimated usage, as a share of it. */
      margin: z.number().nonnegative().max(10).default(0.25),
    })
    .optional(),
  /** How long before its maintenance a node is drained. */
  maintenanceNoticeMs: z.int().nonnegative().default(300_000),
});
export type BorgConfig = z.infer<typeof borgConfig>;
