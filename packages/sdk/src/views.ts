import type { EventData } from './events/index.ts';
import type { ResourceVector } from './resources.ts';
import type { GuestAddress, GuestExit } from './slots/guest.ts';
import type { HostCheck } from './slots/host.ts';
import type { Endpoint, ServiceSpec, WorkloadSpec } from './workload.ts';

/** What the log says about the cluster at one position: plain data, derived from the shared events alone. */
export interface ClusterView {
  /** Every event up to and including this one is in the view; -1 for the empty log. */
  readonly position: number;
  /** Epoch ms of that event. */
  readonly time: number;
  readonly nodes: readonly NodeView[];
  readonly workloads: readonly WorkloadView[];
  readonly instances: readonly InstanceView[];
  readonly services: readonly ServiceView[];
}

export interface NodeView {
  readonly node: string;
  readonly state: 'ready' | 'cordoned' | 'lost' | 'left';
  readonly capacity: ResourceVector;
  /** Requested by the instances placed here. */
  readonly used: ResourceVector;
  readonly instances: number;
  readonly attributes: Readonly<Record<string, string>>;
  readonly runtimes: EventData<'NodeJoined'>['runtimes'];
}

export interface WorkloadView {
  readonly spec: WorkloadSpec;
  /** Every revision that is known, oldest first. */
  readonly revisions: readonly { readonly revision: number; readonly position: number; readonly time: number }[];
  readonly instances: number;
  readonly ready: number;
  /** Instances of the current revision. */
  readonly updated: number;
  readonly rollout: EventData<'RolloutAdvanced'>['phase'] | 'none';
  readonly message?: string;
}

/** Where an instance stands, from the request to the end. */
export type InstanceState =
  | 'pending'
  | 'unplaceable'
  | 'placed'
  | 'created'
  | 'running'
  | 'ready'
  | 'exited'
  | 'failed'
  | 'stopping'
  | 'removed';

export interface InstanceView {
  readonly instance: string;
  readonly workload: string;
  readonly revision: number;
  readonly state: InstanceState;
  readonly requests: ResourceVector;
  readonly priority: number;
  readonly node?: string;
  readonly runtime?: string;
  readonly attempt: number;
  readonly address?: GuestAddress;
  readonly pid?: number;
  readonly exit?: Omit<GuestExit, 'instance'>;
  /** Those beside its first that have ended in this run: whether they run now, how often they were run again, and the last end. */
  readonly containers?: readonly {
    readonly name: string;
    readonly running: boolean;
    readonly restarts: number;
    readonly exit?: Omit<GuestExit, 'instance' | 'attempt'>;
  }[];
  /** It has yet to take other limits in place. */
  readonly resizing?: true;
  /** Why it is where it is, in words: an unplaceable one's reasons, a failure's. */
  readonly reason?: string;
  /** Positions of the request and of the last event about it. */
  readonly requestedAt: number;
  readonly changedAt: number;
  /** Epoch ms of those. */
  readonly requestedTime: number;
  readonly changedTime: number;
}

export interface ServiceView {
  readonly spec: ServiceSpec;
  readonly endpoints: readonly Endpoint[];
  /** Where it is reached on this machine, if an ingress serves it. Not part of the log. */
  readonly address?: { readonly host: string; readonly ports: Readonly<Record<string, number>> };
}

/** A provider of a slot as it is now. */
export interface PluginView {
  readonly slot: string;
  readonly node?: string;
  readonly plugin: string;
  readonly version: string;
  readonly generation: number;
  readonly state: 'starting' | 'active' | 'failed' | 'stopped';
  /** Restarts since it was last sound. */
  readonly attempt: number;
  readonly reason?: string;
  readonly code?: string;
  /** Epoch ms of the next try. */
  readonly restartAt?: number;
  /** Where it is reached, for an `api` plugin that listens. */
  readonly url?: string;
}

/** What became of a command. */
export interface CommandResult {
  /** First and last position of what was decided; absent when nothing had to change. */
  readonly positions?: { readonly first: number; readonly last: number };
  readonly events: readonly { readonly type: string; readonly data: unknown }[];
  readonly warnings: readonly string[];
  readonly correlation: string;
}

export interface SwapRequest {
  readonly slot: string;
  /** Name or path of the successor. */
  readonly plugin: string;
  readonly config?: unknown;
  /** For `guest` and `host`: which node (default: every node that has the predecessor). */
  readonly node?: string;
  /** For `guest`: which of the providers is replaced (default: the one of the same name, else the only one). */
  readonly replaces?: string;
}

export interface SwapResult {
  readonly slot: string;
  readonly from: string;
  readonly to: string;
  readonly generation: number;
  /** Position of SwapCompleted (of the last one, where several nodes were swapped). */
  readonly position: number;
  readonly catchUpMs: number;
}

/** Measures by which two resource managers are compared. Shares are from 0 to 1. */
export interface PlacementMeasures {
  /** Nodes that are there, and how many of them have an instance. */
  readonly nodes: number;
  readonly nodesInUse: number;
  /** Instances that have a place now, and that wait for one. */
  readonly placed: number;
  readonly pending: number;
  /** Since it began: decisions. */
  readonly placements: number;
  readonly preemptions: number;
  /** Requested of what there is: now, and on average over time. */
  readonly utilisation: { readonly cpu: number; readonly memory: number };
  readonly utilisationMean: { readonly cpu: number; readonly memory: number };
  /** The highest share of the cores that was requested at once. */
  readonly utilisationPeak: number;
  /** How much of what is free is of no use for an instance of the mean size, because it lies scattered. */
  readonly fragmentation: number;
  /** From the request to the placement, of those that were placed. */
  readonly waitMs: { readonly p50: number; readonly p99: number; readonly max: number };
  /** Jain's index over owners, of what each had in what it wanted: 1 where all were served alike. */
  readonly fairness: number;
}

export interface ShadowRequest {
  /** Name or path of a resource manager. */
  readonly plugin: string;
  readonly config?: unknown;
}

/** A resource manager that decides on the live log without acting, beside the one in charge. */
export interface ShadowView {
  readonly plugin: string;
  readonly config: unknown;
  /** The one in charge when it began. */
  readonly beside: string;
  readonly state: 'running' | 'failed';
  readonly code?: string;
  readonly reason?: string;
  /** Position and time (epoch ms) at which it began to decide, and what it has seen since. */
  readonly from: number;
  readonly since: number;
  readonly position: number;
  readonly real: PlacementMeasures;
  readonly shadow: PlacementMeasures;
  readonly agreement: ShadowAgreement;
  /** The latest placements that differ, the newest first; bounded. */
  readonly differences: readonly { readonly instance: string; readonly real?: string; readonly shadow?: string }[];
}

/** Of the instances that were requested or placed since the shadow began and are wanted still. */
export interface ShadowAgreement {
  /** Both have placed it: on the same node, on another. */
  readonly sameNode: number;
  readonly otherNode: number;
  readonly onlyReal: number;
  readonly onlyShadow: number;
  /** It waits in both. */
  readonly neither: number;
}

/** Why something is as it is: a chain of events, the oldest first, and the conclusion in words. */
export interface Explanation {
  readonly subject: string;
  readonly summary: string;
  readonly steps: readonly ExplanationStep[];
}

export interface ExplanationStep {
  readonly position: number;
  readonly time: number;
  readonly stream: string;
  readonly type: string;
  /** Which plugin wrote it. */
  readonly by: string;
  readonly text: string;
}

/** What `cloudos doctor` found, by node. */
export interface DoctorReport {
  readonly nodes: readonly { readonly node: string; readonly checks: readonly HostCheck[] }[];
}

/** The kernel in one look. */
export interface KernelStatus {
  readonly stack: string;
  readonly pid: number;
  readonly version: string;
  readonly startedAt: number;
  readonly head: number;
  readonly stateDir: string;
}
