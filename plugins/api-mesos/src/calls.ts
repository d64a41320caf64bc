import { describeIssues } from '@cloudos/sdk';
import { z } from 'zod';
import { mesosResource } from './amounts.ts';

const id = z.object({ value: z.string().min(1).max(255) });
const seconds = z.number().nonnegative();
const labels = z.object({ labels: z.array(z.object({ key: z.string(), value: z.string().optional() })).default([]) });
/** Clients made of old protocol buffers send one of something that may be many by itself. */
const many = <T extends z.ZodType>(of: T) =>
  z.preprocess((given) => (Array.isArray(given) ? given : [given]), z.array(of));
const filters = z.object({ refuse_seconds: seconds.max(31_536_000).default(5) }).default({ refuse_seconds: 5 });

const environment = z.object({
  variables: z.array(z.object({ name: z.string().min(1), value: z.string().optional() })).default([]),
});
const commandInfo = z.object({
  shell: z.boolean().default(true),
  value: z.string().optional(),
  arguments: z.array(z.string()).default([]),
  environment: environment.optional(),
  user: z.string().optional(),
  uris: z.array(z.unknown()).default([]),
});

const healthCheck = z.object({
  type: z.string().optional(),
  http: z
    .object({ port: z.int().min(1).max(65_535), path: z.string().default('/'), scheme: z.string().optional() })
    .optional(),
  tcp: z.object({ port: z.int().min(1).max(65_535) }).optional(),
  command: commandInfo.optional(),
  delay_seconds: seconds.default(15),
  interval_seconds: seconds.default(10),
  timeout_seconds: seconds.default(20),
  consecutive_failures: z.int().positive().default(3),
  grace_period_seconds: seconds.default(10),
});

const containerInfo = z.object({
  type: z.string(),
  docker: z.object({ image: z.string().min(1) }).optional(),
  mesos: z.object({ image: z.object({ docker: z.object({ name: z.string() }).optional() }).optional() }).optional(),
});

export const taskInfo = z.object({
  name: z.string().default(''),
  task_id: id,
  agent_id: id,
  resources: z.array(mesosResource).default([]),
  executor: z.unknown().optional(),
  command: commandInfo.optional(),
  container: containerInfo.optional(),
  health_check: healthCheck.optional(),
  kill_policy: z.object({ grace_period: z.object({ nanoseconds: z.coerce.number() }).optional() }).optional(),
  labels: labels.optional(),
});
export type TaskInfo = z.infer<typeof taskInfo>;

const operation = z.discriminatedUnion('type', [
  z.object({ type: z.literal('LAUNCH'), launch: z.object({ task_infos: many(taskInfo) }) }),
  z.object({
    type: z.literal('LAUNCH_GROUP'),
    launch_group: z.object({ executor: z.unknown(), task_group: z.object({ tasks: many(taskInfo) }) }),
  }),
  z.object({ type: z.literal('RESERVE'), reserve: z.object({ resources: z.array(mesosResource).min(1) }) }),
  z.object({ type: z.literal('UNRESERVE'), unreserve: z.object({ resources: z.array(mesosResource).min(1) }) }),
]);
export type Operation = z.infer<typeof operation>;

const frameworkInfo = z.object({
  user: z.string(),
  name: z.string(),
  id: id.optional(),
  failover_timeout: seconds.max(31_536_000).default(0),
  role: z.string().optional(),
  roles: z.array(z.string()).optional(),
  capabilities: z.array(z.object({ type: z.string() })).default([]),
  principal: z.string().optional(),
});

const offers = many(id).pipe(z.array(id).min(1).max(4_096));
const roles = z.array(z.string()).default([]);
const rolesOnly = z.object({ roles, role: z.string().optional() }).default({ roles: [] });

/** Every call of the v1 scheduler API that is understood (include/mesos/v1/scheduler/scheduler.proto). */
const call = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('SUBSCRIBE'),
    framework_id: id.optional(),
    subscribe: z.object({ framework_info: frameworkInfo, suppressed_roles: roles }),
  }),
  z.object({ type: z.literal('TEARDOWN'), framework_id: id }),
  z.object({
    type: z.literal('ACCEPT'),
    framework_id: id,
    accept: z.object({ offer_ids: offers, operations: many(operation).default([]), filters }),
  }),
  z.object({ type: z.literal('DECLINE'), framework_id: id, decline: z.object({ offer_ids: offers, filters }) }),
  z.object({ type: z.literal('ACCEPT_INVERSE_OFFERS'), framework_id: id }),
  z.object({ type: z.literal('DECLINE_INVERSE_OFFERS'), framework_id: id }),
  z.object({ type: z.literal('REVIVE'), framework_id: id, revive: rolesOnly }),
  z.object({ type: z.literal('SUPPRESS'), framework_id: id, suppress: rolesOnly }),
  z.object({ type: z.literal('KILL'), framework_id: id, kill: z.object({ task_id: id, agent_id: id.optional() }) }),
  z.object({
    type: z.literal('ACKNOWLEDGE'),
    framework_id: id,
    acknowledge: z.object({ agent_id: id, task_id: id, uuid: z.string() }),
  }),
  z.object({
    type: z.literal('RECONCILE'),
    framework_id: id,
    reconcile: z
      .object({
        tasks: z
          .array(z.object({ task_id: id, agent_id: id.optional() }))
          .max(100_000)
          .default([]),
      })
      .default({ tasks: [] }),
  }),
]);
export type Call = z.infer<typeof call>;
export type CallOf<Type extends Call['type']> = Extract<Call, { type: Type }>;

/** Calls of the API that have no counterpart here: there are no custom executors, and nothing to message. */
const unsupported = new Set([
  'SHUTDOWN',
  'MESSAGE',
  'REQUEST',
  'UPDATE_FRAMEWORK',
  'ACKNOWLEDGE_OPERATION_STATUS',
  'RECONCILE_OPERATIONS',
]);

/** The call in a body, or what is wrong with it. Fields that are null count as absent. */
export function parseCall(body: string): Call | { readonly fault: string; readonly unsupported: boolean } {
  let given: unknown;
  try {
    given = withoutNulls(JSON.parse(body));
  } catch (error) {
    return { fault: `Failed to parse body into JSON: ${(error as Error).message}`, unsupported: false };
  }
  const { type } = (given ?? {}) as { type?: unknown };
  if (typeof type === 'string' && unsupported.has(type)) {
    return { fault: `the call ${type} is not supported`, unsupported: true };
  }
  const parsed = call.safeParse(given);
  if (parsed.success) return parsed.data;
  return { fault: `Failed to validate scheduler::Call: ${describeIssues(parsed.error, given)}`, unsupported: false };
}

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) return value.filter((item) => item !== null).map(withoutNulls);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value).filter(([, item]) => item !== null && item !== undefined);
  return Object.fromEntries(entries.map(([name, item]) => [name, withoutNulls(item)]));
}
