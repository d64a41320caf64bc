import { z } from 'zod';
import { placementWishes } from './placement-rule.ts';
import { constraint, owner, resourceVector } from './resources.ts';

const name = z.string().min(1).max(253);
const port = z.int().min(1).max(65_535);
const labels = z.record(z.string(), z.string());

/** How to find out whether a guest is ready, or alive. Times in milliseconds. */
export const probe = z.object({
  check: z.discriminatedUnion('kind', [
    z.object({
      kind: z.literal('http'),
      port,
      path: z.string().default('/'),
      scheme: z.enum(['http', 'https']).default('http'),
      headers: z.array(z.object({ name: z.string(), value: z.string() })).default([]),
    }),
    z.object({ kind: z.literal('tcp'), port }),
    z.object({ kind: z.literal('exec'), command: z.array(z.string()).min(1) }),
  ]),
  initialDelayMs: z.int().nonnegative().default(0),
  periodMs: z.int().positive().default(10_000),
  timeoutMs: z.int().positive().default(1_000),
  /** Consecutive results that it takes to change the verdict. */
  successThreshold: z.int().positive().default(1),
  failureThreshold: z.int().positive().default(3),
});
export type Probe = z.infer<typeof probe>;

/** What environ(7) can hold. */
const variableName = z.string().regex(/^[^=\0]+$/, 'the name of a variable has neither = nor NUL in it');

/** A variable of a guest: a value, or a reference to a secret that the driver reads when the guest starts. */
export const environmentVariable = z.union([
  z.strictObject({ name: variableName, value: z.string().regex(/^[^\0]*$/, 'a value has no NUL in it') }),
  z.strictObject({
    name: variableName,
    /** `<ref>`: path segments of letters, digits, `.`, `_` and `-`. The value is the content of `<stateDir>/secrets/<ref>`. */
    secret: z
      .string()
      .max(253)
      .regex(/^(?!\.)[\w.-]+(\/(?!\.)[\w.-]+)*$/, 'a secret is named by path segments that do not begin with a dot'),
  }),
]);
export type EnvironmentVariable = z.infer<typeof environmentVariable>;

const absolutePath = z
  .string()
  .max(4_095)
  .regex(/^\/(?!.*(^|\/)\.\.?(\/|$))[^\0]*$/, 'an absolute path without `.` and `..`');

/** A directory or file of the node in a guest. The driver takes only paths below directories that its configuration allows. */
export const guestMount = z.object({
  hostPath: absolutePath,
  /** Where it is found in the guest. */
  target: absolutePath,
  readOnly: z.boolean().default(true),
});
export type GuestMount = z.infer<typeof guestMount>;

const containerName = z
  .string()
  .max(63)
  .regex(/^[a-z0-9]([a-z0-9-]*[a-z0-9])?$/, 'a DNS label: lower-case letters, digits and dashes');

/** How many containers a guest has at the most, with the first. */
export const guestContainersMax = 5;

/**
 * A further container of a guest: a program in a root of its own, beside that of the template. The containers of a guest
 * share its address, its name and its memory. One that ends is run again as `restart` of the template says, after 1 s,
 * then twice that, at most 60 s; the guest has ended when its first container has. Its ports, requests and limits are said
 * of the guest, with the first container.
 */
export const guestContainer = z.strictObject({
  name: containerName,
  image: z.string().min(1),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  env: z.array(environmentVariable).default([]),
  mounts: z.array(guestMount).optional(),
  /** What it cannot exceed of the memory and the processes of the guest. 0: no less than all of it. */
  limits: z
    .strictObject({ memoryBytes: z.int().nonnegative().default(0), pids: z.int().nonnegative().default(0) })
    .prefault({}),
  readOnlyRoot: z.boolean().default(false),
  user: z.int().nonnegative().optional(),
  /** The guest is ready when all of its containers run, and this probe of each that has one succeeds. */
  readiness: probe.optional(),
  /** When it fails, the container is ended, and run again as `restart` of the template says. The guest goes on. */
  liveness: probe.optional(),
  /** Until it has succeeded the others wait; when it fails, the same as with `liveness`. */
  startup: probe.optional(),
});
export type GuestContainer = z.infer<typeof guestContainer>;

/** What runs in each instance of a workload: everything a guest runtime needs but the instance's own name. */
export const guestTemplate = z.object({
  /** `host:` for the userland of the host, otherwise a reference that the runtime resolves. */
  image: z.string().min(1),
  /** What the first container is called among those of `containers`. */
  container: containerName.optional(),
  /**
   * Further containers of the guest (a pod), for runtimes that support `pods`; others refuse them with GUEST_UNSUPPORTED.
   * Names differ.
   */
  containers: z
    .array(guestContainer)
    .max(guestContainersMax - 1)
    .optional(),
  /** Guest runtime (`zones`, `docker`, …) where the workload asks for one. Absent: any that the node has. */
  runtime: z.string().optional(),
  /** Replaces the entry point of the image. */
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  workingDir: z.string().optional(),
  /** The guest's own name. Absent: its instance id. */
  hostname: z.string().min(1).max(63).optional(),
  env: z.array(environmentVariable).default([]),
  /** Paths of the node that the guest sees. Absent: none. */
  mounts: z.array(guestMount).optional(),
  ports: z
    .array(z.object({ name: z.string().optional(), port, protocol: z.enum(['tcp', 'udp']).default('tcp') }))
    .default([]),
  /** What is reserved for the guest when it is placed. */
  requests: resourceVector,
  /** What the guest cannot exceed. 0 means that no limit was asked for. */
  limits: resourceVector,
  readiness: probe.optional(),
  liveness: probe.optional(),
  startup: probe.optional(),
  restart: z.enum(['always', 'on-failure', 'never']).default('always'),
  /** Between the polite signal and the kill. */
  stopGraceMs: z.int().nonnegative().default(30_000),
  readOnlyRoot: z.boolean().default(false),
  user: z.int().nonnegative().optional(),
  /**
   * What one runtime alone knows (the brand of a zone, the machine of a VM). The runtime checks it against a schema of
   * its own, and refuses what it does not know with GUEST_SPEC_INVALID.
   */
  options: z.record(z.string(), z.unknown()).optional(),
  labels: labels.default({}),
});
export type GuestTemplate = z.infer<typeof guestTemplate>;

/**
 * Whether GuestHealthy and GuestUnhealthy tell if a guest is ready: one that has a readiness probe or several containers.
 * Any other is ready when it has started, or when its startup probe has succeeded.
 */
export function tellsReadiness({ readiness, containers }: Pick<GuestTemplate, 'readiness' | 'containers'>): boolean {
  return readiness !== undefined || (containers?.length ?? 0) > 0;
}

/** What of a template a guest may take in place (`GuestDriver.resize`). Its requests stay as they were placed. */
export const guestLimits = guestTemplate.pick({ limits: true, options: true });
export type GuestLimits = z.infer<typeof guestLimits>;

export const updateStrategy = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('recreate') }),
  z.object({
    kind: z.literal('rolling'),
    /** Instances over the wanted number during an update. */
    maxSurge: z.int().nonnegative(),
    /** Instances under the wanted number that need not be ready during an update. */
    maxUnavailable: z.int().nonnegative(),
  }),
]);
export type UpdateStrategy = z.infer<typeof updateStrategy>;

/** A declared workload at one revision. Any orchestrator can continue what another one declared. */
export const workloadSpec = z.object({
  /** `<namespace>/<name>`, unique over kinds. */
  workload: name,
  /** Kind in the terms of the orchestrator that took it: `Deployment`, `Pod`, an application. */
  kind: z.string().min(1),
  /** From 1; each change of the template makes the next, but one of limits that the guests take in place. */
  revision: z.int().positive(),
  replicas: z.int().nonnegative(),
  template: guestTemplate,
  strategy: updateStrategy,
  /** 0 to 1000; more is more important. */
  priority: z.int().min(0).max(1_000).default(100),
  constraints: z.array(constraint).default([]),
  /** A node that every instance must be placed on. */
  node: z.string().optional(),
  /** Each of the replicas is requested once: one that is lost, preempted or has failed is not replaced. */
  once: z.boolean().optional(),
  owner: owner.optional(),
  ...placementWishes,
  /** How long an instance must be ready before it counts as available. */
  minReadyMs: z.int().nonnegative().default(0),
  progressDeadlineMs: z.int().positive().default(600_000),
  labels: labels.default({}),
  /** The native manifest, for display by the orchestrator that took it. */
  manifest: z.unknown().optional(),
});
export type WorkloadSpec = z.infer<typeof workloadSpec>;

/** A name under which the ready instances of workloads are reached. */
export const serviceSpec = z.object({
  /** `<namespace>/<name>`. */
  service: name,
  /** Instances whose template labels hold all of these. */
  selector: labels,
  ports: z
    .array(
      z.object({
        name: z.string().optional(),
        /** Where the service listens. */
        port,
        /** Where the instances listen. A name refers to a port of the template. */
        targetPort: z.union([port, z.string()]),
        protocol: z.enum(['tcp', 'udp']).default('tcp'),
        /** `http` lets the ingress balance each request; otherwise it balances connections. */
        appProtocol: z.string().optional(),
        /** A fixed port on the node, where one was asked for. */
        nodePort: port.optional(),
      }),
    )
    .min(1),
  manifest: z.unknown().optional(),
});
export type ServiceSpec = z.infer<typeof serviceSpec>;

/** Where a ready instance is reached. */
export const endpoint = z.object({
  instance: z.string(),
  node: z.string(),
  host: z.string(),
  /** Port by target port of the service: as seen from the node, which may differ from inside the guest. */
  ports: z.record(z.string(), port),
});
export type Endpoint = z.infer<typeof endpoint>;
