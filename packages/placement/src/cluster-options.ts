import { type EventData, workloadTag } from '@cloudos/sdk';

export interface ClusterOptions {
  /** How many tiers priorities fall into, and which: usage is summed by tier. */
  readonly tiers: number;
  readonly tierOf: (priority: number) => number;
  /** Attributes that name failure domains. */
  readonly domains: readonly string[];
  /** Whether instances of different workloads never wait in one group. */
  readonly groupByWorkload?: boolean;
  /** Whether it is noted which groups have changed. Default: not. */
  readonly notesChanges?: boolean;
  /** Whether named reservations are kept (alloc sets). Otherwise they are nobody's: who names one is placed like others. */
  readonly reservations?: boolean;
  /** Attribute of nodes by which workloads are kept together: the first instance of one decides for the others. */
  readonly togetherBy?: string | undefined;
  /**
   * Lends what guests are not expected to need, after GuestUsageEstimated: all but the estimate and this share of it
   * on top. Absent: nothing is lent.
   */
  readonly lending?: { readonly margin: number } | undefined;
}

/** What of InstanceRequested a record is made from. */
export type AdmittedRequest = Omit<EventData<'InstanceRequested'>, 'instance' | 'revision'>;

/** The request with what the options add to it. */
export function together(data: EventData<'InstanceRequested'>, { togetherBy }: ClusterOptions): AdmittedRequest {
  if (togetherBy === undefined) return data;
  const rule = { scope: togetherBy, tags: [workloadTag(data.workload)], min: 1, required: true };
  return { ...data, placement: [...(data.placement ?? []), rule] };
}
