import type { BoundRule } from './company.ts';
import type { DomainCount } from './domain-count.ts';
import type { Profile } from './profile.ts';
import type { WorkloadRecord } from './workload-record.ts';

/** Instances of one workload that say the same about owner, tags and company. */
export class Kin {
  readonly workload: WorkloadRecord;
  readonly profile: Profile;
  /** How many instances are of it, and how many of those have a place. */
  instances = 0;
  placed = 0;
  /** What follows is kept by the company index. */
  rules: readonly BoundRule[] = [];
  company:
    | { readonly version: number; readonly counts: readonly DomainCount[]; readonly shunners: readonly DomainCount[] }
    | undefined;

  constructor(workload: WorkloadRecord, profile: Profile) {
    this.workload = workload;
    this.profile = profile;
  }
}
