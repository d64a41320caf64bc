import type { NewEvent } from '@cloudos/sdk';
import { DrivenPolicy, resourcesPolicy } from './driven-policy.ts';
import { nodesOf, type Request } from './mix.ts';

export interface ResourcesBench {
  /** Name in the rows: `resources.<manager>.…`. */
  readonly manager: string;
  /** The plugin, and its configuration where the defaults do not do. */
  readonly plugin: string;
  readonly config?: unknown;
  /** What is to be recorded before the first request: queues, roles, quotas. */
  readonly prepare?: readonly NewEvent[];
  /** Changes a request of the mix into the terms of the manager: a queue for it, a role. */
  readonly adapt?: (request: Request) => Request;
  /** How many times the full scan the policy is to be at 10,000 nodes. */
  readonly timesFullScan: number;
}

/** Requests that arrive together. */
export const burst = 1_024;
/** Instances to a node at the end of a filling: about half of the capacity of the mix. */
export const perNode = 12;

/** The policy with that many nodes and nothing on them. */
export async function filled(about: ResourcesBench, nodes: number): Promise<DrivenPolicy> {
  const driven = new DrivenPolicy(await resourcesPolicy(about.plugin, about.config ?? {}));
  for (const event of about.prepare ?? []) driven.give(event);
  for (const event of nodesOf(nodes)) driven.give(event);
  driven.settle();
  return driven;
}

/** The next requests of the mix, in the terms of the manager. */
export function take(requests: Iterator<Request>, count: number, { adapt }: ResourcesBench): NewEvent[] {
  return Array.from({ length: count }, () => {
    const request = requests.next().value as Request;
    return { type: 'InstanceRequested', data: adapt ? adapt(request) : request };
  });
}

/** Seconds of processor time that the process has had: what other processes do meanwhile does not count. */
export function processorSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000_000;
}

/** Seconds of processor time. */
export interface PlacingCost {
  /** Taking requests in, which makes their records. */
  readonly intake: number;
  /** Deciding where they go, and taking the decisions in. */
  readonly deciding: number;
}

/** Requests come in bursts; each is decided before the next comes. */
export function place(driven: DrivenPolicy, requests: readonly NewEvent[]): PlacingCost {
  let [intake, deciding] = [0, 0];
  for (let from = 0; from < requests.length; from += burst) {
    const startedAt = processorSeconds();
    for (let at = from; at < Math.min(from + burst, requests.length); at++) driven.give(requests[at]!);
    const takenAt = processorSeconds();
    driven.settle();
    intake += takenAt - startedAt;
    deciding += processorSeconds() - takenAt;
  }
  return { intake, deciding };
}
