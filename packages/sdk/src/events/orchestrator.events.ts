import { z } from 'zod';
import { placementWishes } from '../placement-rule.ts';
import { constraint, owner, resourceVector } from '../resources.ts';
import { endpoint, serviceSpec, workloadSpec } from '../workload.ts';

const instance = z.string().min(1);
const workload = z.string().min(1);

/** What an orchestrator decides, in the stream `orchestrator` (or `orchestrator-<plugin>` where there are several). */
export const orchestratorEvents = {
  WorkloadDeclared: { doc: 'A workload is wanted from now on.', schema: workloadSpec },
  WorkloadChanged: {
    doc: 'A workload is wanted differently: the whole new specification. One of the same revision with other limits is for the guests that are there: they take them in place.',
    schema: workloadSpec,
  },
  WorkloadRemoved: { doc: 'A workload is not wanted any more.', schema: z.object({ workload }) },
  InstanceRequested: {
    doc: 'An instance of that revision of the workload shall run somewhere. The template is that of the revision.',
    schema: z.object({
      /** Unique for ever: an instance is never requested twice. */
      instance,
      workload,
      revision: z.int().positive(),
      requests: resourceVector,
      priority: z.int().min(0).max(1_000),
      runtime: z.string().optional(),
      constraints: z.array(constraint).optional(),
      /** A node that it must be placed on, whatever the policy prefers. */
      node: z.string().optional(),
      owner: owner.optional(),
      ...placementWishes,
      /** Image of the template, so that nodes which have it can be preferred. */
      image: z.string().optional(),
    }),
  },
  InstanceWithdrawn: {
    doc: 'The instance is not wanted any more: its guest is stopped and removed wherever it is.',
    schema: z.object({
      instance,
      reason: z.string(),
      /** Wait that long before the polite signal, so that requests under way to it can end. */
      drainMs: z.int().nonnegative().default(0),
      graceMs: z.int().nonnegative(),
    }),
  },
  InstanceRestartOrdered: {
    doc: 'The guest of the instance shall be started anew on its node; if it runs, it is stopped first.',
    schema: z.object({ instance, attempt: z.int().min(2), reason: z.string() }),
  },
  ServiceDeclared: { doc: 'A service is wanted, or wanted differently.', schema: serviceSpec },
  ServiceRemoved: { doc: 'A service is not wanted any more.', schema: z.object({ service: z.string() }) },
  ServiceEndpointsChanged: {
    doc: 'The ready instances behind a service: the whole new list.',
    schema: z.object({ service: z.string(), endpoints: z.array(endpoint) }),
  },
  RolloutAdvanced: {
    doc: 'An update of a workload went on, ended, or stands still past its deadline.',
    schema: z.object({
      workload,
      revision: z.int().positive(),
      phase: z.enum(['progressing', 'complete', 'stalled']),
      updated: z.int().nonnegative(),
      ready: z.int().nonnegative(),
      wanted: z.int().nonnegative(),
      message: z.string().optional(),
    }),
  },
} as const;
