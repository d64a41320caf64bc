import type { ResourceVector } from '@cloudos/sdk';

/** What the private events and commands of the resource manager begin with. */
export const policyPrefix = 'x-resources-mesos-';

export interface OfferData {
  readonly offer: string;
  readonly framework: string;
  readonly role: string;
  readonly node: string;
  readonly resources: ResourceVector;
  readonly reserved?: readonly {
    readonly owner: string;
    readonly resources: ResourceVector;
    readonly labels?: Readonly<Record<string, string>>;
    readonly principal?: string;
    readonly fixed: boolean;
  }[];
  readonly ports: readonly { readonly begin: number; readonly end: number }[];
  readonly unavailability?: Unavailability;
}

export interface Unavailability {
  readonly from: number;
  readonly durationMs: number;
}

/** What resources-mesos tells of frameworks, as private events in its stream. */
export interface PolicyEvents {
  FrameworkSubscribed: {
    readonly framework: string;
    readonly name: string;
    readonly user: string;
    readonly capabilities: readonly string[];
  };
  FrameworkDisconnected: { readonly framework: string };
  FrameworkRemoved: { readonly framework: string; readonly reason: string };
  OffersMade: { readonly offers: readonly OfferData[] };
  OffersRescinded: { readonly framework: string; readonly offers: readonly string[] };
  OffersAccepted: { readonly framework: string; readonly launches: readonly { readonly workload: string }[] };
  LaunchesReleased: { readonly framework: string; readonly workloads: readonly string[]; readonly reason: string };
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

export type PolicyEvent = {
  [Name in keyof PolicyEvents]: { readonly name: Name; readonly data: PolicyEvents[Name] };
}[keyof PolicyEvents];

export function asPolicyEvent(event: { readonly type: string; readonly data: unknown }): PolicyEvent | undefined {
  if (!event.type.startsWith(policyPrefix)) return undefined;
  return { name: event.type.slice(policyPrefix.length), data: event.data } as PolicyEvent;
}

export function policyCommand(name: string, request: object) {
  return { slot: 'resources', command: { type: `${policyPrefix}${name}` as const, request } } as const;
}
