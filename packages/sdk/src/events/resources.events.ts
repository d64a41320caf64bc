import { z } from 'zod';
import { placementRule } from '../placement-rule.ts';
import { constraint, owner, priorityRange, resourceBounds, resourceVector } from '../resources.ts';

const node = z.string().min(1);
const instance = z.string().min(1);
/** Epoch milliseconds. */
const time = z.int().nonnegative();

/** What tells one reservation of an owner on a node from another. */
const reserved = {
  owner,
  node,
  resources: resourceVector,
  /** Where it is part of a named reservation: its name, and which of its parts, from 0. */
  reservation: z.string().min(1).optional(),
  index: z.int().nonnegative().optional(),
  labels: z.record(z.string(), z.string()).optional(),
  /** On whose authority. */
  principal: z.string().optional(),
};

/** Resources to be set aside under a name, in as many equal parts as `count` says. */
export const reservationSpec = z.object({
  reservation: z.string().min(1).max(253),
  owner,
  /** Of each part. */
  resources: resourceVector,
  count: z.int().positive().max(1_000_000),
  priority: z.int().min(0).max(1_000).optional(),
  /** Where parts may be. */
  node: z.string().optional(),
  constraints: z.array(constraint).optional(),
  placement: z.array(placementRule).max(16).optional(),
  /** When it holds (epoch milliseconds); at once and for good where they are absent. */
  from: time.optional(),
  until: time.optional(),
  labels: z.record(z.string(), z.string()).optional(),
  principal: z.string().optional(),
});

export type ReservationSpec = z.infer<typeof reservationSpec>;

/** What a quota is about: the same owner and range replace the quota that was. */
const quotaSubject = {
  owner,
  /** Which priorities it is about; all where it is absent. */
  priority: priorityRange.optional(),
};

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
  ReservationRequested: {
    doc: 'Resources shall be set aside under a name: an alloc set of Borg, a reservation of YARN.',
    schema: reservationSpec,
  },
  ReservationWithdrawn: {
    doc: 'A named reservation is not wanted any more. What runs in it is preempted.',
    schema: z.object({ reservation: z.string().min(1), reason: z.string() }),
  },
  ResourcesReserved: {
    doc: 'Resources are set aside for an owner on a node.',
    schema: z.object(reserved),
  },
  ResourcesUnreserved: {
    doc: 'Resources that were set aside on a node are free again.',
    schema: z.object(reserved),
  },
  QuotaSet: {
    doc: 'An owner may use at most that much in all, is promised so much of it, and has that weight among its peers.',
    schema: z.object({
      ...quotaSubject,
      limit: resourceBounds,
      guarantee: resourceBounds.optional(),
      /** Share of what is not promised to anybody, relative to the other owners of the same parent. */
      weight: z.number().positive().optional(),
      /** When it ends (epoch milliseconds). */
      until: time.optional(),
    }),
  },
  QuotaRemoved: {
    doc: 'The quota of an owner for a range of priorities does not hold any more.',
    schema: z.object(quotaSubject),
  },
  OwnerStateChanged: {
    doc: 'An owner takes instances, or no new ones: those that run go on.',
    schema: z.object({ owner, state: z.enum(['running', 'stopped']) }),
  },
  MaintenanceScheduled: {
    doc: 'A node will be taken down for a while. Replaces what was scheduled for it before.',
    schema: z.object({ node, from: time, durationMs: z.int().positive(), reason: z.string() }),
  },
  MaintenanceCancelled: { doc: 'A node will not be taken down after all, or is back.', schema: z.object({ node }) },
  NodeCordoned: {
    doc: 'Nothing new is placed on the node. With `drain`, its instances move away as well.',
    schema: z.object({ node, reason: z.string(), drain: z.boolean().optional() }),
  },
  NodeUncordoned: { doc: 'The node takes instances again.', schema: z.object({ node }) },
  NodeDrained: { doc: 'The last instance has left a node that is being drained.', schema: z.object({ node }) },
} as const;
