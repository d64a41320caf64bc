import {
  type ClusterView,
  type DoctorReport,
  type Explanation,
  endpoint,
  type GuestStats,
  type KernelStatus,
  type PluginView,
  resourceVector,
  type ShadowView,
  serviceSpec,
  sharedEvents,
  workloadSpec,
} from '@cloudos/sdk';
import { z } from 'zod';
import { count, describes, epochMs, positionOrNone, record } from './shapes.ts';

export const kernelStatus = describes<KernelStatus>()(
  z.object({
    stack: z.string(),
    pid: z.int(),
    version: z.string(),
    startedAt: epochMs,
    head: positionOrNone,
    stateDir: z.string(),
  }),
);

const nodeView = z.object({
  node: z.string(),
  state: z.enum(['ready', 'cordoned', 'lost', 'left']),
  capacity: resourceVector,
  used: resourceVector,
  instances: count,
  attributes: record(z.string()),
  runtimes: sharedEvents.NodeJoined.schema.shape.runtimes,
});

const workloadView = z.object({
  spec: workloadSpec,
  revisions: z.array(z.object({ revision: count, position: count, time: epochMs })),
  instances: count,
  ready: count,
  updated: count,
  rollout: z.union([sharedEvents.RolloutAdvanced.schema.shape.phase, z.literal('none')]),
  message: z.string().optional(),
});

const instanceView = z.object({
  instance: z.string(),
  workload: z.string(),
  revision: count,
  state: z.enum([
    'pending',
    'unplaceable',
    'placed',
    'created',
    'running',
    'ready',
    'exited',
    'failed',
    'stopping',
    'removed',
  ]),
  requests: resourceVector,
  priority: z.int(),
  node: z.string().optional(),
  runtime: z.string().optional(),
  attempt: count,
  address: z.object({ host: z.string(), ports: record(z.int()).optional() }).optional(),
  pid: z.int().optional(),
  exit: sharedEvents.GuestExited.schema.partial({ instance: true, node: true }).optional(),
  containers: z
    .array(
      z.object({
        name: z.string(),
        running: z.boolean(),
        restarts: count,
        exit: sharedEvents.GuestExited.schema.omit({ instance: true, node: true, attempt: true }).optional(),
      }),
    )
    .optional(),
  resizing: z.literal(true).optional(),
  reason: z.string().optional(),
  requestedAt: count,
  changedAt: count,
  requestedTime: epochMs,
  changedTime: epochMs,
});

const serviceView = z.object({
  spec: serviceSpec,
  endpoints: z.array(endpoint),
  address: z.object({ host: z.string(), ports: record(z.int()) }).optional(),
});

export const clusterView = describes<ClusterView>()(
  z.object({
    position: positionOrNone,
    time: epochMs,
    nodes: z.array(nodeView),
    workloads: z.array(workloadView),
    instances: z.array(instanceView),
    services: z.array(serviceView),
  }),
);

export const pluginViews = describes<readonly PluginView[]>()(
  z.array(
    z.object({
      slot: z.string(),
      node: z.string().optional(),
      plugin: z.string(),
      version: z.string(),
      generation: count,
      state: z.enum(['starting', 'active', 'failed', 'stopped']),
      attempt: count,
      reason: z.string().optional(),
      code: z.string().optional(),
      restartAt: epochMs.optional(),
      url: z.string().optional(),
    }),
  ),
);

export const doctorReport = describes<DoctorReport>()(
  z.object({
    nodes: z.array(
      z.object({
        node: z.string(),
        checks: z.array(
          z.object({
            name: z.string(),
            status: z.enum(['ok', 'warning', 'missing']),
            found: z.string(),
            remedy: z.string().optional(),
          }),
        ),
      }),
    ),
  }),
);

export const explanation = describes<Explanation>()(
  z.object({
    subject: z.string(),
    summary: z.string(),
    steps: z.array(
      z.object({
        position: count,
        time: epochMs,
        stream: z.string(),
        type: z.string(),
        by: z.string(),
        text: z.string(),
      }),
    ),
  }),
);

export const guestStats = describes<GuestStats>()(
  z.object({
    cpuNanos: z.number().optional(),
    memoryBytes: z.number().optional(),
    memoryPeakBytes: z.number().optional(),
    pids: z.number().optional(),
    diskBytes: z.number().optional(),
    networkReceivedBytes: z.number().optional(),
    networkSentBytes: z.number().optional(),
  }),
);

const measures = z.object({
  nodes: count,
  nodesInUse: count,
  placed: count,
  pending: count,
  placements: count,
  preemptions: count,
  utilisation: z.object({ cpu: z.number(), memory: z.number() }),
  utilisationMean: z.object({ cpu: z.number(), memory: z.number() }),
  utilisationPeak: z.number(),
  fragmentation: z.number(),
  waitMs: z.object({ p50: z.number(), p99: z.number(), max: z.number() }),
  fairness: z.number(),
});

export const shadowView = describes<ShadowView>()(
  z.object({
    plugin: z.string(),
    config: z.unknown(),
    beside: z.string(),
    state: z.enum(['running', 'failed']),
    code: z.string().optional(),
    reason: z.string().optional(),
    from: positionOrNone,
    since: epochMs,
    position: positionOrNone,
    real: measures,
    shadow: measures,
    agreement: z.object({
      sameNode: count,
      otherNode: count,
      onlyReal: count,
      onlyShadow: count,
      neither: count,
    }),
    differences: z.array(
      z.object({ instance: z.string(), real: z.string().optional(), shadow: z.string().optional() }),
    ),
  }),
);
