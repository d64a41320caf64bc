import { z } from 'zod';

/** The tag that every instance of a workload has without saying so. */
export function workloadTag(workload: string): string {
  return `workload:${workload}`;
}

/**
 * A rule about the company of an instance. Counted are the other instances that are placed in a domain and not about
 * to leave it, and that bear all of the tags. Affinity is `min: 1`, anti-affinity `max: 0`, cardinality has both (as
 * in YARN, https://hadoop.apache.org/docs/stable/hadoop-yarn/hadoop-yarn-site/PlacementConstraints.html), spreading is
 * `maxSkew` (as in Kubernetes, https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/).
 */
export const placementRule = z
  .object({
    /** What a domain is: `node`, or the attribute that the nodes of one domain have the same value of (`zone`). */
    scope: z.string().min(1),
    /** Own instances are those with the tag `workload:<workload>`. */
    tags: z.array(z.string().min(1)).min(1).max(16),
    /** At least that many in the domain. Met everywhere while there is none at all, if the instance has the tags. */
    min: z.int().positive().optional(),
    /** At most that many in the domain before the instance comes. */
    max: z.int().nonnegative().optional(),
    /** With the instance, at most that many more than in the domain that has fewest. */
    maxSkew: z.int().positive().optional(),
    /** Otherwise it is a wish: it counts when nodes are compared. */
    required: z.boolean(),
    /** How much a wish counts beside others; 1 when absent. */
    weight: z.int().min(1).max(100).optional(),
  })
  .refine(
    ({ min, max, maxSkew }) => min !== undefined || max !== undefined || maxSkew !== undefined,
    'expected at least one of min, max and maxSkew',
  );
export type PlacementRule = z.infer<typeof placementRule>;

/** What an instance says about its owner and its place, beside its resources. All of it may be left out. */
export const placementWishes = {
  /** The person or program on whose behalf it runs, where an owner has several. */
  user: z.string().min(1).max(253).optional(),
  /** Allocation tags: what rules about company refer to. */
  tags: z.array(z.string().min(1)).max(64).optional(),
  placement: z.array(placementRule).max(16).optional(),
  /** Ports of the node that it takes for itself. */
  hostPorts: z.array(z.int().min(1).max(65_535)).max(64).optional(),
  /** The reservation that it runs in (an alloc set of Borg, a reservation of YARN). */
  reservation: z.string().min(1).optional(),
};
