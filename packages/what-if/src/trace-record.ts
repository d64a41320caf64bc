import { CloudosError, constraint, describeIssues, placementRule, resourceVector } from '@cloudos/sdk';
import { z } from 'zod';

const timeMs = z.number().nonnegative();
const name = z.string().min(1).max(253);

/** A line of a trace. Documented in docs/traces.md. */
export const traceRecord = z.discriminatedUnion('kind', [
  /** A node is there from then on, or has another capacity. */
  z.strictObject({
    kind: z.literal('node'),
    timeMs,
    node: name,
    capacity: resourceVector,
    attributes: z.record(z.string(), z.string()).default({}),
    runtimes: z.array(z.string()).default(['simulated']),
  }),
  /** A node is not there any more; what is on it is lost. */
  z.strictObject({ kind: z.literal('node-gone'), timeMs, node: name }),
  /** An instance is wanted. It ends after its duration, counted from its placement; without one, by an `end`. */
  z.strictObject({
    kind: z.literal('instance'),
    timeMs,
    instance: name,
    workload: name,
    requests: resourceVector,
    priority: z.int().min(0).max(1_000).default(100),
    durationMs: z.number().nonnegative().optional(),
    owner: z.string().optional(),
    user: z.string().optional(),
    tags: z.array(z.string()).optional(),
    runtime: z.string().optional(),
    node: z.string().optional(),
    constraints: z.array(constraint).optional(),
    placement: z.array(placementRule).optional(),
    hostPorts: z.array(z.int().positive()).optional(),
  }),
  /** An instance is not wanted any more, wherever it is. */
  z.strictObject({ kind: z.literal('end'), timeMs, instance: name }),
  /** What an operator said: a cordon, a quota, the state of an owner. A shared event. */
  z.strictObject({ kind: z.literal('fact'), timeMs, type: z.string(), data: z.record(z.string(), z.unknown()) }),
]);
export type TraceRecord = z.output<typeof traceRecord>;
export type TraceInput = z.input<typeof traceRecord>;

/** @throws CloudosError TRACE_MALFORMED with what was given and what was expected */
export function parseRecord(given: unknown, where: string): TraceRecord {
  const parsed = traceRecord.safeParse(given);
  if (parsed.success) return parsed.data;
  throw malformed(`${where}: ${describeIssues(parsed.error, given)}`);
}

export function malformed(message: string): CloudosError {
  return new CloudosError('TRACE_MALFORMED', message);
}

/** Records of a trace at most: they are held in memory. */
export const recordsMax = 10_000_000;

const ranks = { node: 0, fact: 1, end: 2, 'node-gone': 3, instance: 4 } as const;

/** By time; at the same time nodes come first and requests last. */
export function inOrder(records: readonly TraceRecord[]): TraceRecord[] {
  return [...records].sort((one, other) => one.timeMs - other.timeMs || ranks[one.kind] - ranks[other.kind]);
}
