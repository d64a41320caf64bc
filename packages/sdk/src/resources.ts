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

/** Amounts of some resources; what is absent is not bounded. */
export const resourceBounds = z.object({
  cpuMillis: amount.optional(),
  memoryBytes: amount.optional(),
  diskBytes: amount.optional(),
  pids: amount.optional(),
  custom: z.record(z.string(), amount).optional(),
});
export type ResourceBounds = z.infer<typeof resourceBounds>;

/** A range of priorities, both ends included. */
export const priorityRange = z
  .object({ from: z.int().min(0).max(1_000), to: z.int().min(0).max(1_000) })
  .refine(({ from, to }) => from <= to, 'expected `from` not to be above `to`');
export type PriorityRange = z.infer<typeof priorityRange>;

/**
 * Who pays: a path of names, the widest first. A quota account of Borg, a role of Mesos, a queue of YARN (without its
 * `root`). Absent means {@link ownerDefault}.
 */
export const owner = z
  .string()
  .max(253)
  .regex(/^[^/\s]+(\/[^/\s]+)*$/, 'expected names with a slash between them, such as eng/search');
export const ownerDefault = 'default';
