import type { NewEvent, ResourceVector } from '@cloudos/sdk';

/** Ports of a node, both ends included. */
export interface PortRange {
  readonly begin: number;
  readonly end: number;
}

/** Part of an offer that is set aside, with what tells it from others. */
export interface ReservedPart {
  readonly owner: string;
  readonly resources: ResourceVector;
  readonly labels?: Readonly<Record<string, string>>;
  readonly principal?: string;
  /** It cannot be given up: it is in the configuration. */
  readonly fixed: boolean;
}

/** A node is to be taken down for a while. */
export interface Unavailability {
  /** Epoch milliseconds. */
  readonly from: number;
  readonly durationMs: number;
}

export interface OfferData {
  readonly offer: string;
  readonly framework: string;
  readonly role: string;
  readonly node: string;
  /** Everything that is offered, what is set aside included. */
  readonly resources: ResourceVector;
  readonly reserved?: readonly ReservedPart[];
  readonly ports: readonly PortRange[];
  readonly unavailability?: Unavailability;
}

/** A task that a framework launches on an offer, before there is an instance of it. */
export interface LaunchData {
  /** The workload that is declared for it: `<framework>/<task>`. */
  readonly workload: string;
  readonly role: string;
  readonly node: string;
  readonly resources: ResourceVector;
  readonly ports: readonly number[];
}

/**
 * What the policy remembers of frameworks outside of the stack, as private events in its own stream: hints, which
 * another resource manager ignores. What they have launched is in the shared events, and lasts.
 */
export interface FrameworkEvents {
  FrameworkSubscribed: {
    readonly framework: string;
    readonly name: string;
    readonly user: string;
    readonly roles: readonly string[];
    readonly suppressed: readonly string[];
    readonly failoverTimeoutMs: number;
    readonly capabilities: readonly string[];
    readonly principal?: string;
  };
  FrameworkDisconnected: { readonly framework: string };
  FrameworkRemoved: { readonly framework: string; readonly reason: string };
  OffersMade: { readonly offers: readonly OfferData[] };
  OffersRescinded: { readonly framework: string; readonly offers: readonly string[]; readonly reason: string };
  OffersDeclined: { readonly framework: string; readonly offers: readonly string[]; readonly refuseMs: number };
  OffersAccepted: {
    readonly framework: string;
    readonly offers: readonly string[];
    readonly launches: readonly LaunchData[];
    readonly refuseMs: number;
  };
  LaunchesReleased: { readonly framework: string; readonly workloads: readonly string[]; readonly reason: string };
  OffersRevived: { readonly framework: string; readonly roles: readonly string[] };
  OffersSuppressed: { readonly framework: string; readonly roles: readonly string[] };
  InverseOffersMade: {
    readonly offers: readonly {
      readonly offer: string;
      readonly framework: string;
      readonly node: string;
      readonly unavailability: Unavailability;
    }[];
  };
  InverseOffersRescinded: { readonly framework: string; readonly offers: readonly string[] };
}

/** What the names of these events begin with. */
export const privatePrefix = 'x-resources-mesos-';

/** Any of these events, told apart by `name`. */
export type FrameworkEvent = {
  [Name in keyof FrameworkEvents]: { readonly name: Name; readonly data: FrameworkEvents[Name] };
}[keyof FrameworkEvents];

export function frameworkEvent<Name extends keyof FrameworkEvents>(
  name: Name,
  data: FrameworkEvents[Name],
): NewEvent<string, FrameworkEvents[Name]> {
  return { type: `${privatePrefix}${name}`, data };
}

/** The event as one of these; undefined for any other. */
export function asFrameworkEvent(event: { readonly type: string; readonly data: unknown }): FrameworkEvent | undefined {
  if (!event.type.startsWith(privatePrefix)) return undefined;
  return { name: event.type.slice(privatePrefix.length), data: event.data } as FrameworkEvent;
}
