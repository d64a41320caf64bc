import { z } from 'zod';
import { reservationSpec, resourcesEvents } from './events/resources.events.ts';
import { resourceVector } from './resources.ts';
import { guestLimits, workloadSpec } from './workload.ts';

/** What an orchestrator can be asked. Each is `decide`d by the policy; workloads are named `<namespace>/<name>`. */
export const orchestratorCommand = z.discriminatedUnion('type', [
  z.object({
    type: z.literal('Apply'),
    /** The manifest in the orchestrator's own language, as a user would hand it to that system. */
    text: z.string(),
    /** Where the text came from, for messages. */
    source: z.string().optional(),
  }),
  /**
   * Declares a workload in the terms that all orchestrators share, whatever the language of this one: how tasks of a
   * scheduler outside of the stack come into being. The same again is no change; a name that is taken is refused, unless
   * it shall be replaced: then the specification becomes the next revision of a workload of that kind.
   */
  z.object({ type: z.literal('Declare'), spec: workloadSpec, replace: z.boolean().optional() }),
  /** Removes what a manifest declares. */
  z.object({ type: z.literal('RemoveManifest'), text: z.string(), source: z.string().optional() }),
  /** Removes one thing. `kind` in the orchestrator's terms; it and the namespace may be left out if unambiguous. */
  z.object({ type: z.literal('Remove'), kind: z.string().optional(), name: z.string().min(1) }),
  /** Removes every workload and service. */
  z.object({ type: z.literal('RemoveAll') }),
  z.object({ type: z.literal('Scale'), workload: z.string().min(1), replicas: z.int().min(0).max(1_000_000) }),
  /**
   * Other limits for the guests of a workload, in place. Its requests stay as they are, and so does the revision. What a
   * runtime cannot do in place is told by `GuestResizeFailed`.
   */
  z.object({ type: z.literal('Resize'), workload: z.string().min(1), ...guestLimits.shape }),
  /** Back to a revision; without one, to the one before the current. */
  z.object({ type: z.literal('Rollback'), workload: z.string().min(1), revision: z.int().positive().optional() }),
  /** Replaces every instance, as an update with the same template would. */
  z.object({ type: z.literal('Restart'), workload: z.string().min(1) }),
]);
export type OrchestratorCommand = z.infer<typeof orchestratorCommand>;

const { QuotaSet, QuotaRemoved, OwnerStateChanged } = resourcesEvents;

/** A command that one plugin alone knows: `x-<plugin>-<Name>`, as private events are called. */
const privateCommand = z.object({ type: z.templateLiteral(['x-', z.string()]), request: z.unknown() });

const sharedResourcesCommand = z.discriminatedUnion('type', [
  z.object({ type: z.literal('CordonNode'), node: z.string().min(1), reason: z.string().default('') }),
  z.object({ type: z.literal('UncordonNode'), node: z.string().min(1) }),
  /** Cordons the node and moves its instances away. */
  z.object({ type: z.literal('DrainNode'), node: z.string().min(1), reason: z.string().default('') }),
  z.object({ type: z.literal('SetQuota'), ...QuotaSet.schema.shape }),
  z.object({ type: z.literal('RemoveQuota'), ...QuotaRemoved.schema.shape }),
  z.object({ type: z.literal('SetOwnerState'), ...OwnerStateChanged.schema.shape }),
  /** With a name: in parts, wherever there is room. Without one: on the node that is named, at once or not at all. */
  z.object({
    type: z.literal('Reserve'),
    ...reservationSpec.partial({ reservation: true }).shape,
    count: reservationSpec.shape.count.default(1),
  }),
  /** By name; or what an owner has on a node, the amounts that are given (all, where none are). */
  z.object({
    type: z.literal('Unreserve'),
    ...reservationSpec.pick({ reservation: true, owner: true, node: true, labels: true, principal: true }).partial()
      .shape,
    resources: resourceVector.optional(),
    reason: z.string().default(''),
  }),
  z.object({
    type: z.literal('ScheduleMaintenance'),
    node: z.string().min(1),
    /** Epoch milliseconds. */
    from: z.int().nonnegative(),
    durationMs: z.int().positive(),
    reason: z.string().default(''),
  }),
  z.object({ type: z.literal('CancelMaintenance'), node: z.string().min(1) }),
  /** Other settings of the plugin from now on, checked against its schema. Recorded, so that a replay gives the same. */
  z.object({ type: z.literal('Configure'), config: z.record(z.string(), z.unknown()) }),
]);

/**
 * What a resource manager can be asked. What a policy does not know of (its `supports` says so) it refuses with
 * COMMAND_UNSUPPORTED.
 */
export const resourcesCommand = z.union([sharedResourcesCommand, privateCommand]);
export type ResourcesCommand = z.infer<typeof resourcesCommand>;

/** A command and the slot whose policy decides it. */
export type SlotCommand =
  | { readonly slot: 'orchestrator'; readonly command: OrchestratorCommand }
  | { readonly slot: 'resources'; readonly command: ResourcesCommand };

export interface CommandOptions {
  /** UUIDv7 chosen by the sender: sending a command again with the same id does nothing twice. */
  readonly id?: string;
  readonly traceparent?: string;
}
