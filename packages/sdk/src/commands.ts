import { z } from 'zod';

/** What an orchestrator can be asked. Each is `decide`d by the policy; workloads are named `<namespace>/<name>`. */
export const orchestratorCommand = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('Apply'),
    /** The manifest in the orchestrator's own language, as a user would hand it to that system. */
    text: z.string(),
    /** Where the text came from, for messages. */
    source: z.string().optional(),
  }),
  /** Removes what a manifest declares. */
  z.object({ type: z.literal('RemoveManifest'), text: z.string(), source: z.string().optional() }),
  /** Removes one thing. `kind` in the orchestrator's terms; it and the namespace may be left out if unambiguous. */
  z.object({ type: z.literal('Remove'), kind: z.string().optional(), name: z.string().min(1) }),
  /** Removes every workload and service. */
  z.object({ type: z.literal('RemoveAll') }),
  z.object({ type: z.literal('Scale'), workload: z.string().min(1), replicas: z.int().min(0).max(1_000_000) }),
  /** Back to a revision; without one, to the one before the current. */
  z.object({ type: z.literal('Rollback'), workload: z.string().min(1), revision: z.int().positive().optional() }),
  /** Replaces every instance, as an update with the same template would. */
  z.object({ type: z.literal('Restart'), workload: z.string().min(1) }),
]);
export type OrchestratorCommand = z.infer<typeof orchestratorCommand>;

/** What a resource manager can be asked. */
export const resourcesCommand = z.discriminatedUnion('type', [
  z.object({ type: z.literal('CordonNode'), node: z.string().min(1), reason: z.string().default('') }),
  z.object({ type: z.literal('UncordonNode'), node: z.string().min(1) }),
  /** Cordons the node and moves its instances away. */
  z.object({ type: z.literal('DrainNode'), node: z.string().min(1), reason: z.string().default('') }),
]);
export type ResourcesCommand = z.infer<typeof resourcesCommand>;
