import { z } from 'zod';

const amount = z.strictObject({
  cpuMillis: z.number().nonnegative().optional(),
  memoryBytes: z.number().nonnegative().optional(),
});
/** `40%`, `2w` (weight) or an absolute amount. */
const capacity = z.union([z.string(), z.number().min(0).max(100), amount]);
/** `60%` of the parent's maximum, or an absolute amount. */
const maximum = z.union([z.string(), z.number().min(0).max(100), amount]);
const path = z.string().regex(/^root(\.[^.\s]+)*$/, 'expected root or a path below it, such as root.eng.web');
const label = z.string().regex(/^[0-9a-zA-Z][0-9a-zA-Z_-]*$/, 'expected letters, digits, - and _');

/** One queue, in the terms of `capacity-scheduler.xml`; what the fair scheduler calls otherwise is named beside it. */
export const queueConfig = z.strictObject({
  path,
  /** `capacity`: what is guaranteed. A weight (`2w`) is also the weight of fair scheduling. */
  capacity: capacity.default('1w'),
  /** `maximum-capacity` (fair: `maxResources`). */
  maximumCapacity: maximum.default('100%'),
  /** `state`: STOPPED takes no new application and lets those that are there run to their end. */
  state: z.enum(['RUNNING', 'STOPPED']).default('RUNNING'),
  /**
   * How children take turns (`capacity`, `fair`, `drf`), or, of a queue without children, its applications
   * (`fifo`, `fair`, `drf`). Default: `capacity` and `fifo`.
   */
  schedulingPolicy: z.enum(['capacity', 'fifo', 'fair', 'drf']).optional(),
  /** `priority` among siblings under `capacity`: counts while both are below, or both above, what is guaranteed. */
  priority: z.int().default(0),
  /** `minimum-user-limit-percent`. */
  minimumUserLimitPercent: z.number().min(0).max(100).default(100),
  /** `user-limit-factor`; -1: no limit. */
  userLimitFactor: z.number().min(-1).default(1),
  /** `user-settings.<user>.weight`. */
  userWeights: z.record(z.string(), z.number().positive()).default({}),
  /** `maximum-applications`. Absent: a share of the cluster's, as the queue is guaranteed. */
  maximumApplications: z.int().nonnegative().optional(),
  /** `max-parallel-apps` (fair: `maxRunningApps`). */
  maxParallelApps: z.int().nonnegative().optional(),
  /** `maximum-am-resource-percent` as a fraction (fair: `maxAMShare`). Absent: that of the cluster. */
  maximumAmResourcePercent: z.number().min(0).max(1).optional(),
  /** `accessible-node-labels`; `*`: every label. Absent: those of the parent. */
  accessibleNodeLabels: z.union([z.literal('*'), z.array(label)]).optional(),
  /** `default-node-label-expression`: for requests that name no label. */
  defaultNodeLabel: label.optional(),
  /** `accessible-node-labels.<label>.capacity` and `.maximum-capacity`. */
  labels: z
    .record(label, z.strictObject({ capacity: capacity.default('0%'), maximumCapacity: maximum.default('100%') }))
    .default({}),
  /** `disable_preemption`: nothing of the queue is preempted for another queue. */
  disablePreemption: z.boolean().default(false),
});
export type QueueConfig = z.infer<typeof queueConfig>;

/** The rules of the fair scheduler's `queuePlacementPolicy`, in order; the first that gives a queue decides. */
export const placementRuleConfig = z.strictObject({
  rule: z.enum([
    'specified',
    'user',
    'primaryGroup',
    'secondaryGroupExistingQueue',
    'nestedUserQueue',
    'default',
    'reject',
  ]),
  /** Whether a queue that is not there is made. */
  create: z.boolean().default(true),
  /** For `default`: which. */
  queue: path.default('root.default'),
  /** For `nestedUserQueue`: the rule that gives the parent. */
  nested: z.enum(['specified', 'primaryGroup', 'secondaryGroupExistingQueue', 'default']).default('default'),
});
export type PlacementRuleConfig = z.infer<typeof placementRuleConfig>;

/** Configuration of resources-yarn. */
export const yarnConfig = z.strictObject({
  /** Events that one call decides at most; what is left follows at once. */
  decisionsMax: z.int().positive().max(65_536).default(4_096),
  /** Feasible nodes that are compared for a placement: the fullest of them is taken. */
  candidates: z.int().positive().max(10_000).default(16),
  /**
   * In which order nodes are looked up: `fullest` packs, `resource-usage` takes the least used first, as the
   * multi-node placement of YARN does.
   */
  nodeOrder: z.enum(['fullest', 'resource-usage']).default('fullest'),
  /** `resource-calculator`: `default` counts memory only, `dominant` cores as well. */
  resourceCalculator: z.enum(['default', 'dominant']).default('dominant'),
  /** The queues; parents that are not listed are made. Without any: `root.default` with everything. */
  queues: z.array(queueConfig).max(10_000).default([]),
  placementRules: z
    .array(placementRuleConfig)
    .min(1)
    .max(16)
    .default([
      { rule: 'specified', create: false, queue: 'root.default', nested: 'default' },
      { rule: 'default', create: true, queue: 'root.default', nested: 'default' },
    ]),
  /** Groups of users, the primary one first (`hadoop.user.group.static.mapping.overrides`). */
  groups: z.record(z.string(), z.array(z.string()).min(1)).default({}),
  /** Queues that placement rules and quotas may make. */
  dynamicQueuesMax: z.int().nonnegative().max(100_000).default(1_000),
  /** `maximum-applications` of the cluster; queues that do not say have a share of it. */
  maximumApplications: z.int().positive().default(10_000),
  /** `maximum-am-resource-percent` as a fraction. */
  maximumAmResourcePercent: z.number().min(0).max(1).default(0.1),
  /**
   * What plays the application master. `unmanaged`: the orchestrator, outside of the cluster, as YARN's unmanaged AM;
   * it takes no share. `first-instance`: the oldest instance of the application is its AM container.
   */
  applicationMaster: z.enum(['unmanaged', 'first-instance']).default('unmanaged'),
  nodeLabels: z
    .strictObject({
      /** The attribute of a node that names its label (its partition). */
      attribute: z.string().min(1).default('node-label'),
      /** Labels that are known; a node with another one belongs to the default partition. */
      labels: z
        .array(z.strictObject({ name: label, exclusive: z.boolean().default(true) }))
        .max(64)
        .default([]),
    })
    .prefault({}),
  /** Attribute of a node that names its rack. */
  rackAttribute: z.string().min(1).default('rack'),
  locality: z
    .strictObject({
      /** How long a request waits for a node that it prefers (`locality-delay-node-ms`). 0: does not wait. */
      nodeDelayMs: z.int().nonnegative().default(0),
      /** How long after that it waits for a rack that it prefers (`locality-delay-rack-ms`). */
      rackDelayMs: z.int().nonnegative().default(0),
    })
    .prefault({}),
  reservations: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** A request reserves a node when nothing of its application was placed for that long. */
      afterMs: z.int().positive().default(10_000),
      /** Nodes that may be reserved at once, as a share of all. */
      nodesShareMax: z.number().min(0).max(1).default(0.1),
    })
    .prefault({}),
  preemption: z
    .strictObject({
      enabled: z.boolean().default(true),
      /** `monitoring_interval`. */
      monitoringIntervalMs: z.int().positive().default(3_000),
      /** `max_wait_before_kill`: the grace that a preempted instance gets. */
      maxWaitBeforeKillMs: z.int().nonnegative().default(15_000),
      /** `total_preemption_per_round`, as a share of the cluster. */
      totalPreemptionPerRound: z.number().min(0).max(1).default(0.1),
      /** `max_ignored_over_capacity`. */
      maxIgnoredOverCapacity: z.number().min(0).default(0.1),
      /** `natural_termination_factor`. */
      naturalTerminationFactor: z.number().min(0).max(1).default(0.2),
    })
    .prefault({}),
});
export type YarnConfig = z.infer<typeof yarnConfig>;
