import { z } from 'zod';
import { resourceVector } from '../resources.ts';

const node = z.string().min(1);
const instance = z.string().min(1);

/** What a resource manager decides, in the stream `resources`. */
export const resourcesEvents = {
  InstancePlaced: {
    doc: 'The instance shall run on that node. Its request is taken from the capacity of the node until GuestRemoved.',
    schema: z.object({ instance, node, score: z.number().optional() }),
  },
  InstanceUnplaceable: {
    doc: 'No node can take the instance now. Recorded again only when the reasons change.',
    schema: z.object({
      instance,
      reasons: z.array(
        z.object({
          /** What stood in the way: `cpu`, `memory`, `runtime`, `attribute zone`, `cordoned`, … */
          constraint: z.string(),
          /** How many nodes it ruled out. */
          nodes: z.int().nonnegative(),
          message: z.string(),
        }),
      ),
    }),
  },
  InstancePreempted: {
    doc: 'The instance loses its place: its guest is stopped and removed. The orchestrator requests another instance.',
    schema: z.object({
      instance,
      node,
      /** The instance that gets the place, where it is preempted for one. */
      by: z.string().optional(),
      reason: z.string(),
      graceMs: z.int().nonnegative(),
    }),
  },
  ResourcesReserved: {
    doc: 'Resources are set aside for an owner on a node.',
    schema: z.object({ owner: z.string(), node, resources: resourceVector }),
  },
  QuotaSet: {
    doc: 'An owner may use at most that much in all.',
    schema: z.object({ owner: z.string(), limit: resourceVector }),
  },
  NodeCordoned: {
    doc: 'Nothing new is placed on the node. With `drain`, its instances move away as well.',
    schema: z.object({ node, reason: z.string(), drain: z.boolean().optional() }),
  },
  NodeUncordoned: { doc: 'The node takes instances again.', schema: z.object({ node }) },
  NodeDrained: { doc: 'The last instance has left a node that is being drained.', schema: z.object({ node }) },
} as const;
