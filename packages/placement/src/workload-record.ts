import { workloadTag } from '@cloudos/sdk';
import type { Kin } from './kin.ts';
import type { Scope } from './scope.ts';
import type { Shape } from './shape.ts';
import { SlotCounts } from './slot-counts.ts';

/** What a resource manager keeps of a workload: how its instances are spread, and how long they take to stop. */
export class WorkloadRecord {
  readonly name: string;
  /** The tag that all of its instances bear. */
  readonly tag: string;
  /** Instances that are known, pending ones included. */
  instances = 0;
  removed = false;
  /** From the template, where it was declared. */
  graceMs: number | undefined;
  /** Shape of the last instance: the next one likely has the same. */
  lastShape: Shape | undefined;
  /** The same of its kin; most workloads have one. */
  lastKin: Kin | undefined;
  readonly kins = new Map<string, Kin>();
  /** Instances placed and not leaving. */
  placed = 0;
  /** The same by slot of the node. */
  readonly onNode = new SlotCounts();
  /** The same by failure domain: first index the domain attribute, second its value as the node table numbers them. */
  readonly inDomain: number[][] = [];

  constructor(name: string) {
    this.name = name;
    this.tag = workloadTag(name);
  }

  /** @param by 1 or -1 */
  count(slot: number, domains: readonly Scope[], by: number): void {
    this.placed += by;
    this.onNode.add(slot, by);
    for (let domain = 0; domain < domains.length; domain++) {
      const value = domains[domain]!.values[slot]!;
      if (value < 0) continue;
      let counts = this.inDomain[domain];
      if (!counts) {
        counts = [];
        this.inDomain[domain] = counts;
      }
      while (counts.length <= value) counts.push(0);
      counts[value] = counts[value]! + by;
    }
  }
}
