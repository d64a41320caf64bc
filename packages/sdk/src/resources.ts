import { z } from 'zod';

const amount = z.number().nonnegative();

/** How much of each resource. Absent means none asked for (in a request) or none there (in a capacity). */
export const resourceVector = z.object({
  /** Thousandths of a core. */
  cpuMillis: amount.default(0),
  memoryBytes: amount.default(0),
  diskBytes: amount.default(0),
  /** Processes and threads. */
  pids: amount.default(0),
  /** Named custom resources (`gpu`), in whole units. */
  custom: z.record(z.string(), amount).optional(),
});
export type ResourceVector = z.infer<typeof resourceVector>;

/** A requirement on the attributes of a node. */
export const constraint = z.object({
  attribute: z.string().min(1),
  operator: z.enum(['in', 'not-in', 'exists', 'not-exists', 'gt', 'lt']),
  values: z.array(z.string()).default([]),
});
export type Constraint = z.infer<typeof constraint>;
