import { definePlugin } from '@cloudos/sdk';
import { z } from 'zod';
import { borgPolicy } from './borg.policy.ts';

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
});
export type BorgConfig = z.infer<typeof borgConfig>;

/** Places by feasibility and scoring, with priority bands and preemption, as Borg does. */
export default definePlugin({
  name: 'resources-borg',
  slot: 'resources',
  apiVersion: 1,
  description: 'Placement by feasibility and scoring, with priority bands and preemption',
  supports: { preemption: true, spreading: true, packing: true, drain: true, snapshot: true },
  config: borgConfig,
  create: (_context, config) => borgPolicy(config),
});
