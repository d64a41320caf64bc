import { definePlugin } from '@cloudos/sdk';
import { mesosConfig } from './config.ts';
import { mesosPolicy } from './mesos.policy.ts';

/** Shares the cluster among roles by dominant resource fairness and offers, as Mesos does. */
export default definePlugin({
  name: 'resources-mesos',
  slot: 'resources',
  apiVersion: 1,
  description: 'Two-level offers by dominant resource fairness: roles, frameworks, quota, reservations',
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
    guarantee: true,
  },
  config: mesosConfig,
  create: (_context, config) => mesosPolicy(config),
});
