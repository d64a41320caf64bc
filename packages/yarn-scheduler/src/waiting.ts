import type { PendingGroup, Shape } from '@cloudos/placement';
import type { Application } from './application.ts';
import type { Queue } from './queues/queue.ts';
import type { YarnState } from './yarn-state.ts';

/** One application of a class, with the groups in which its instances wait: one, unless they differ in tags and such. */
export interface WaitingEntry {
  readonly application: Application;
  readonly groups: PendingGroup[];
}

type Classes = Map<Queue, Map<string, WaitingClass>>;

/** What a class knows of one of its groups. */
interface Member {
  readonly of: WaitingClass;
  readonly entry: WaitingEntry;
  live: number;
  /** What everyone of the group was told; undefined while somebody was told nothing or something else. */
  told: string | undefined;
}

/**
 * Instances that ask for the same at the same priority, for the same user in the same queue: a limit or the nodes stand
 * in the way of all of them or of none. Ordered as a `fifo` queue serves them.
 */
export class WaitingClass {
  readonly queue: Queue;
  readonly user: string;
  readonly shape: Shape;
  readonly priority: number;
  /** By the order of submission. */
  readonly entries: WaitingEntry[] = [];
  /** Instances. */
  live = 0;
  /** No application of it waits for longer (epoch ms); it may be that none waits as long any more. */
  since = Number.POSITIVE_INFINITY;
  /** By what they were told: how many groups. */
  readonly #told = new Map<string | undefined, number>();
  #toldAt = Number.POSITIVE_INFINITY;

  constructor(queue: Queue, user: string, shape: Shape, priority: number) {
    this.queue = queue;
    this.user = user;
    this.shape = shape;
    this.priority = priority;
  }

  /** What all of them were told last; undefined where they were told different things, or somebody nothing. */
  get toldAll(): string | undefined {
    return this.#told.size === 1 ? this.#told.keys().next().value : undefined;
  }

  /** Whether all of them were told something after that version of the cluster. */
  toldSince(version: number): boolean {
    if (this.#toldAt < version) {
      this.#toldAt = Number.POSITIVE_INFINITY;
      for (const { groups } of this.entries) {
        for (const { toldAt } of groups) if (toldAt < this.#toldAt) this.#toldAt = toldAt;
      }
    }
    return this.#toldAt >= version;
  }

  /** Works out again since when the one has waited that waits longest. */
  reviewSince(): void {
    this.since = Number.POSITIVE_INFINITY;
    for (const { application } of this.entries) this.since = Math.min(this.since, application.waitingSince);
  }

  add(application: Application, group: PendingGroup): Member {
    const at = this.#indexOf(application.order);
    let entry = this.entries[at];
    if (entry?.application !== application) {
      entry = { application, groups: [] };
      this.entries.splice(at, 0, entry);
    }
    entry.groups.push(group);
    const member: Member = { of: this, entry, live: 0, told: undefined };
    this.#told.set(undefined, (this.#told.get(undefined) ?? 0) + 1);
    this.review(member, group);
    return member;
  }

  /** The group may be smaller or larger, or have been told something. */
  review(member: Member, group: PendingGroup): void {
    this.live += group.live - member.live;
    member.live = group.live;
    const told = group.toldAll(group.signature) && group.toldAt >= 0 ? group.signature : undefined;
    if (told !== member.told) {
      this.#count(member.told, -1);
      this.#count(told, 1);
      member.told = told;
    }
    this.since = Math.min(this.since, member.entry.application.waitingSince);
    this.#toldAt = Math.min(this.#toldAt, group.toldAt);
  }

  remove(member: Member, group: PendingGroup): void {
    this.live -= member.live;
    this.#count(member.told, -1);
    const { application, groups } = member.entry;
    groups.splice(groups.indexOf(group), 1);
    if (groups.length === 0) this.entries.splice(this.#indexOf(application.order), 1);
  }

  #count(told: string | undefined, by: 1 | -1): void {
    const count = (this.#told.get(told) ?? 0) + by;
    if (count > 0) this.#told.set(told, count);
    else this.#told.delete(told);
  }

  #indexOf(order: number): number {
    let low = 0;
    let high = this.entries.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.entries[middle]!.application.order < order) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/**
 * Everyone who waits, kept between decisions so that one does not look at all of them: in classes where what holds for
 * one holds for all, by themselves where it does not. Follows from the state; no snapshot has it.
 */
export class Waiting {
  /** Groups that are looked at one by one. */
  readonly alone = new Set<PendingGroup>();
  /** Groups of applications that no queue takes and that were not told so yet. */
  readonly turnedAway = new Set<PendingGroup>();
  readonly #classes: Classes = new Map();
  readonly #refused: Classes = new Map();
  readonly #members = new Map<PendingGroup, Member>();
  readonly #state: YarnState;
  #stale = true;

  constructor(state: YarnState) {
    this.#state = state;
  }

  /** Queues or settings are not what they were. */
  reset(): void {
    this.#stale = true;
  }

  /** Takes in what has changed since it was called last. */
  update(): void {
    const { groups } = this.#state.cluster;
    if (this.#stale) {
      this.#stale = false;
      this.alone.clear();
      this.turnedAway.clear();
      this.#classes.clear();
      this.#refused.clear();
      this.#members.clear();
      for (const group of groups.values()) groups.noteChange(group);
    }
    for (const group of groups.changed) this.#review(group);
    groups.changed.clear();
  }

  *classes(): Generator<WaitingClass> {
    for (const classes of this.#classes.values()) yield* classes.values();
  }

  /** Of applications that their queue does not take now. */
  *refused(): Generator<WaitingClass> {
    for (const classes of this.#refused.values()) yield* classes.values();
  }

  /** The class in which the group waits, where it waits in one. */
  classOf(group: PendingGroup): WaitingClass | undefined {
    return this.#members.get(group)?.of;
  }

  #review(group: PendingGroup): void {
    const member = this.#members.get(group);
    const record = group.live > 0 ? group.items[group.head] : undefined;
    const application = record && this.#state.applications.get(record.workload.name);
    this.alone.delete(group);
    this.turnedAway.delete(group);
    const where = application && this.#classFor(group, application);
    if (member && member.of === where) return member.of.review(member, group);
    if (member) this.#leave(member, group);
    if (where) this.#members.set(group, where.add(application!, group));
  }

  /** The class for it. Without one it is looked at by itself, if at all. */
  #classFor(group: PendingGroup, application: Application): WaitingClass | undefined {
    const { queue, rejection, user } = application;
    if (rejection) {
      if (!group.toldAll(rejection.constraint)) this.turnedAway.add(group);
      return queue && classIn(this.#refused, group, queue, user);
    }
    if (queue && !this.#isAlone(group, queue)) return classIn(this.#classes, group, queue, user);
    this.alone.add(group);
    return undefined;
  }

  #leave(member: Member, group: PendingGroup): void {
    const { of } = member;
    of.remove(member, group);
    this.#members.delete(group);
    if (of.entries.length > 0) return;
    for (const family of [this.#classes, this.#refused]) {
      const classes = family.get(of.queue);
      for (const [key, each] of classes ?? []) if (each === of) classes!.delete(key);
      if (classes?.size === 0) family.delete(of.queue);
    }
  }

  /**
   * Whether more decides about the group than queue, user, priority and what it asks for: company, a node that it must
   * be on, a node that is kept for it, how much its application has, or which applications run.
   */
  #isAlone(group: PendingGroup, queue: Queue): boolean {
    const { config, reservations } = this.#state;
    const { shape, profile } = group;
    if (shape.demand.node !== undefined || profile.rules.length > 0) return true;
    if (config.applicationMaster === 'first-instance') return true;
    if ((queue.settings.schedulingPolicy ?? 'fifo') !== 'fifo') return true;
    for (let at: Queue | undefined = queue; at; at = at.parent) {
      if (at.settings.maxParallelApps !== undefined) return true;
    }
    for (const record of reservations.keys()) if (record.group === group) return true;
    return false;
  }
}

function classIn(family: Classes, group: PendingGroup, queue: Queue, user: string): WaitingClass {
  let classes = family.get(queue);
  if (!classes) {
    classes = new Map();
    family.set(queue, classes);
  }
  const key = `${group.priority} ${group.shape.key} ${user}`;
  let found = classes.get(key);
  if (found?.shape !== group.shape) {
    found = new WaitingClass(queue, user, group.shape, group.priority);
    classes.set(key, found);
  }
  return found;
}
