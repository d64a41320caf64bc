import { z } from 'zod';
import { defaultPriorityClasses } from './manifest/pod.ts';

const durationMs = z.int().nonnegative();

/** Configuration of the plugin. Times in milliseconds. */
export const kubernetesOptions = z.strictObject({
  /** How long an instance that is taken out of its services goes on serving before it is asked to stop. */
  drainMs: durationMs.default(500),
  /**
   * Restarts after a crash, as the kubelet does: the first at once, the second after `initial`, then twice as long
   * each time up to `max`; counted anew after a run of at least `resetAfter`.
   * https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#restart-policy
   */
  restartBackoffMs: z
    .strictObject({
      initial: durationMs.default(10_000),
      max: durationMs.default(300_000),
      resetAfter: durationMs.default(600_000),
    })
    .prefault({}),
  /** Instances requested, withdrawn and restarted in one decision; the rest follows in the next, at once. */
  changesPerReactMax: z.int().min(1).max(100_000).default(2_000),
  /** Priority (0 to 1000) of each class that `priorityClassName` may name. */
  priorityClasses: z.record(z.string(), z.int().min(0).max(1000)).default({ ...defaultPriorityClasses }),
});

export type KubernetesOptions = z.output<typeof kubernetesOptions>;
