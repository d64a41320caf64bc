import type { Plan } from './plan.ts';
import { currentGroup, type Group, type Instance, sizeOf, type Workload } from './state.ts';

/**
 * Brings the instances of a workload to what is wanted, by the arithmetic of the deployment controller
 * (https://kubernetes.io/docs/concepts/workloads/controllers/deployment/#rolling-update-deployment; upstream
 * pkg/controller/deployment/rolling.go): never more than wanted + surge exist, and none is taken away that would leave
 * fewer than wanted − unavailable.
 * @returns how many instances of the revision that is wanted there will be
 */
export function planInstances(workload: Workload, plan: Plan): number {
  for (const instance of workload.doomed) plan.withdraw(instance, reasonOf(instance));
  const draft = new Draft(workload, plan);
  if (workload.spec.kind === 'ReplicaSet' || isPaused(workload)) keep(draft);
  else if (workload.spec.strategy.kind === 'recreate') recreate(draft);
  else roll(draft, workload.spec.strategy.maxSurge, workload.spec.strategy.maxUnavailable);
  return draft.updated;
}

/** Withdraws what is left of a removed workload. */
export function planRemoval(workload: Workload, plan: Plan): void {
  for (const instance of workload.doomed) plan.withdraw(instance, 'workload removed');
  for (const group of workload.groups.values()) {
    for (const set of [group.unready, group.done, group.ready]) {
      for (const instance of set) if (!plan.withdraw(instance, 'workload removed')) return;
    }
  }
}

export function isPaused(workload: Workload): boolean {
  const manifest = workload.spec.manifest as { kind?: unknown; spec?: { paused?: unknown } } | undefined;
  return manifest?.kind === 'Deployment' && manifest.spec?.paused === true;
}

/** Instances that have been ready for long enough; those that ended for good count. */
export function availableIn(group: Group, now: number): number {
  const { minReadyMs } = group.workload.spec;
  let waiting = 0;
  if (minReadyMs > 0) for (const instance of group.ready) if (instance.readySince + minReadyMs > now) waiting++;
  return group.ready.size - waiting + group.done.size + group.finished;
}

/** When the next instance will have been ready for long enough. */
export function nextAvailableAt(workload: Workload, now: number): number | undefined {
  const { minReadyMs } = workload.spec;
  let next: number | undefined;
  if (minReadyMs === 0) return undefined;
  for (const group of workload.groups.values()) {
    for (const { readySince } of group.ready) {
      const at = readySince + minReadyMs;
      if (at > now && (next === undefined || at < next)) next = at;
    }
  }
  return next;
}

/** Numbers of a workload while decisions about it are being added to the plan. */
class Draft {
  readonly workload: Workload;
  readonly plan: Plan;
  readonly wanted: number;
  readonly current: Group;
  readonly old: readonly Group[];
  /** Instances of the current revision, with what the draft changes. */
  updated: number;
  #requested = 0;

  constructor(workload: Workload, plan: Plan) {
    this.workload = workload;
    this.plan = plan;
    this.wanted = workload.spec.replicas;
    this.current = currentGroup(workload);
    this.updated = sizeOf(this.current);
    this.old = [...workload.groups.values()].filter((group) => group !== this.current && sizeOf(group) > 0);
  }

  request(group: Group, count: number): void {
    const { spec, requested } = this.workload;
    const allowed = spec.once ? Math.min(count, spec.replicas - requested - this.#requested) : count;
    if (allowed <= 0) return;
    const made = this.plan.request(group, allowed, this.#requested);
    this.#requested += made;
    if (group === this.current) this.updated += made;
  }

  withdraw(instances: Iterable<Instance>, count: number, reason: string): void {
    let left = count;
    for (const instance of instances) {
      if (left <= 0 || !this.plan.withdraw(instance, reason)) return;
      if (instance.group === this.current) this.updated--;
      left--;
    }
  }
}

function roll(draft: Draft, maxSurge: number, maxUnavailable: number): void {
  const { current, wanted, old, plan } = draft;
  const surplus = Math.max(0, sizeOf(current) - wanted);
  if (surplus > 0) draft.withdraw(leastWorthy([current]), surplus, 'scaled down');
  const updated = sizeOf(current) - surplus;
  if (old.length === 0) return draft.request(current, wanted - updated);

  const unavailableNow = sizeOf(current) - availableIn(current, plan.now);
  const unavailable = Math.max(0, unavailableNow - surplus);
  const total = updated + sum(old, sizeOf);
  const updates = Math.min(wanted + maxSurge - total, wanted - updated, maxSurge + maxUnavailable - unavailable);
  const added = Math.max(0, updates);
  draft.request(current, added);
  // while the new revision does not come up, what the old one loses is replaced by its own kind
  const minAvailable = Math.max(0, wanted - maxUnavailable);
  const missing = Math.min(wanted + maxSurge - total - added, minAvailable - (total - unavailable));
  if (missing > 0) return draft.request(latest(old), missing);

  const most = total - minAvailable - unavailable;
  if (most <= 0) return;
  const spare = updated - unavailable + sum(old, (group) => availableIn(group, plan.now)) - minAvailable;
  const troubled = old.flatMap((group) => unavailableOf(group, plan.now)).slice(0, most);
  draft.withdraw(troubled, most, 'replaced by a newer revision');
  const sound = Math.min(spare, most - troubled.length);
  draft.withdraw(availableOf(old, plan.now), sound, 'replaced by a newer revision');
}

/** All of the old first, and nothing new before nothing old is left anywhere. */
function recreate(draft: Draft): void {
  const { current, wanted, old, workload } = draft;
  for (const group of old) draft.withdraw(everyOf(group), sizeOf(group), 'replaced by a newer revision');
  const surplus = sizeOf(current) - wanted;
  if (surplus > 0) draft.withdraw(leastWorthy([current]), surplus, 'scaled down');
  let leaving = 0;
  for (const revision of workload.leaving.values()) if (revision !== workload.spec.revision) leaving++;
  if (leaving === 0 && old.every((group) => group.unready.size + group.ready.size + group.done.size === 0)) {
    draft.request(current, -surplus);
  }
}

/** Only the number is kept: by a ReplicaSet, which never updates pods, and by a Deployment that is paused. */
function keep(draft: Draft): void {
  const { current, wanted, old, workload } = draft;
  const total = sizeOf(current) + sum(old, sizeOf);
  if (total > wanted) draft.withdraw(leastWorthy([...old, current]), total - wanted, 'scaled down');
  else {
    const unchanged = workload.spec.kind !== 'ReplicaSet' && sizeOf(current) === 0 && old.length > 0;
    draft.request(unchanged ? latest(old) : current, wanted - total);
  }
}

/** Those that are missed least first: not ready, then those that have been ready for the shortest time. */
function* leastWorthy(groups: readonly Group[]): Iterable<Instance> {
  for (const group of groups) yield* [...group.unready].reverse();
  for (const group of [...groups].reverse()) yield* [...group.ready].reverse();
  for (const group of groups) yield* group.done;
}

function* everyOf(group: Group): Iterable<Instance> {
  yield* group.unready;
  yield* group.done;
  yield* group.ready;
}

function unavailableOf(group: Group, now: number): Instance[] {
  const { minReadyMs } = group.workload.spec;
  if (minReadyMs === 0) return [...group.unready];
  return [...group.unready, ...[...group.ready].filter(({ readySince }) => readySince + minReadyMs > now)];
}

function* availableOf(groups: readonly Group[], now: number): Iterable<Instance> {
  const { minReadyMs } = groups[0]?.workload.spec ?? { minReadyMs: 0 };
  for (const group of groups) {
    yield* group.done;
    for (const instance of group.ready) if (instance.readySince + minReadyMs <= now) yield instance;
  }
}

function latest(groups: readonly Group[]): Group {
  return groups.reduce((best, group) => (group.revision > best.revision ? group : best));
}

function sum(groups: readonly Group[], of: (group: Group) => number): number {
  return groups.reduce((total, group) => total + of(group), 0);
}

function reasonOf(instance: Instance): string {
  if (instance.fate === 'condemned') return instance.dueReason || 'failed for good';
  return `lost with node ${instance.node ?? 'unknown'}`;
}
