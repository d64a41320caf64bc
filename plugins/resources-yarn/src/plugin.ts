import { definePlugin } from '@cloudos/sdk';
import { yarnConfig, yarnPolicy } from '@cloudos/yarn-scheduler';

/** Places by hierarchical queues, as YARN does. */
export default definePlugin({
  name: 'resources-yarn',
  slot: 'resources',
  apiVersion: 1,
  description: 'Hierarchical queues with guarantees and limits, user limits, labels, reservations and preemption',
  supports: {
    preemption: false,
    spreading: false,
    packing: true,
    drain: true,
    snapshot: true,
    company: true,
    ports: true,
    quota: true,
    ownerState: true,
    reservations: false,
    maintenance: true,
    starvationFree: true,
    guarantee: true,
  },
  config: yarnConfig,
  create: (_context, config) => yarnPolicy(config),
});
