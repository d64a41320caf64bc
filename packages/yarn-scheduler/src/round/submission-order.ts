import type { InstanceRecord, PendingGroup } from '@cloudos/placement';
import type { Application } from '../application.ts';
import { WaitingClass } from '../waiting.ts';

/** The first of a group who waits. */
export function firstOf(group: PendingGroup): InstanceRecord {
  return group.items[group.head]!;
}

function orderOf(each: Application | WaitingClass): readonly [application: number, instance: number] {
  if (!(each instanceof WaitingClass)) return [each.order, firstOf(each.groups[0]!).order];
  const { application, groups } = each.entries[0]!;
  return [application.order, Math.min(...groups.map((group) => firstOf(group).order))];
}

/** By the order of submission, and of one application by the order of requests. */
export function bySubmission(one: Application | WaitingClass, other: Application | WaitingClass): number {
  const [application, instance] = orderOf(one);
  const [otherApplication, otherInstance] = orderOf(other);
  return application - otherApplication || instance - otherInstance;
}
