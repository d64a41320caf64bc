import { definePlugin } from '@cloudos/sdk';
import { borgPolicy } from './borg.policy.ts';
import { borgConfig } from './config.ts';

/** Places by feasibility and scoring, with priority bands and preemption, as Borg does. */
export default definePlugin({
  name: 'resources-borg',
  slot: 'resources',
  apiVersion: 1,
  description: 'Placement by feasibility and scoring, with priority bands, quota, allocs and preemption',
  supports: {
    preemption: true,
    spreading: true,
    packing: true,
    drain: true,
    snapshot: true,
    company: true,
    ports: true,
    quota: true,
    ownerState: true,
    reservations: true,
    maintenance: true,
    reclamation: true,
    configure: true,
  },
  config: borgConfig,
  create: (_context, config) => borgPolicy(config),
});
