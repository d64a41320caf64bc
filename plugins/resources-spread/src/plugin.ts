import { definePlugin } from '@cloudos/sdk';
import { z } from 'zod';
import { spreadPolicy } from './spread.policy.ts';

/** Configuration of resources-spread. */
export const spreadConfig = z.strictObject({
  /** Events that one call decides at most; what is left follows at once. */
  decisionsMax: z.int().positive().max(65_536).default(1_024),
});
export type SpreadConfig = z.infer<typeof spreadConfig>;

/** Places each instance on the least used node that can take it. */
export default definePlugin({
  name: 'resources-spread',
  slot: 'resources',
  apiVersion: 1,
  description: 'Placement on the least used node, workloads spread over nodes; no preemption',
  supports: {
    preemption: false,
    spreading: true,
    packing: false,
    drain: true,
    snapshot: true,
    company: true,
    ports: true,
    maintenance: true,
  },
  config: spreadConfig,
  create: (_context, config) => spreadPolicy(config),
});
