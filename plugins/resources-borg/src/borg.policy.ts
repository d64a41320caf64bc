import {
  type Cluster,
  type InstanceRecord,
  type PlacementPolicyOptions,
  type PlacementStrategy,
  type Preemption,
  placementPolicy,
  type Shape,
} from '@cloudos/placement';
import type { Policy, ResourcesCommand } from '@cloudos/sdk';

import { bandOf, bands } from './bands.ts';
import { type CandidateWindow, scatter } from './candidate-window.ts';
import { type BorgState, configurable } from './configurable.ts';
import { findPreemption } from './preemption.ts';
import { WindowPool } from './window-pool.ts';

export interface BorgOptions {
  /** Events that one `react` decides at most; the rest follows at once in further calls. */
  readonly decisionsMax: number;
  /** Feasible nodes that are compared for a placement. More packs better and costs more. */
  readonly candidates: number;
  readonly preemption: boolean;
  /** Node attributes that name failure domains. */
  readonly failureDomains: readonly string[];
  /** Grace for preempted instances whose workload was never declared. */
  readonly graceMs: number;
  /** Node attribute that names cells, where the nodes make up several: no workload is spread over two. */
  readonly cells?: string | undefined;
  /** Lends what guests are not expected to need to best-effort work; `margin` is kept of it on top of the estimate. */
  readonly reclamation?: { readonly margin: number } | undefined;
  /** How long before its maintenance a node is drained. */
  readonly maintenanceNoticeMs?: number | undefined;
}

/** Feasibility, then scoring, with priority bands, quota, allocs and preemption, after Borg (Verma et al., EuroSys 2015). */
export function borgPolicy(options: BorgOptions): Policy<BorgState, ResourcesCommand> {
  return configurable(options, (settings) => {
    const windows = new WindowPool(settings.candidates, settings.failureDomains.length);
    return placementPolicy(placementOptions(settings), (cluster, now) => {
      windows.giveBack();
      return new BorgRound(cluster, settings, now, windows);
    });
  });
}

function placementOptions(options: BorgOptions): PlacementPolicyOptions {
  return {
    name: 'resources-borg',
    tiers: bands.length,
    tierOf: bandOf,
    domains: options.failureDomains,
    eventsMax: options.decisionsMax,
    graceMs: options.graceMs,
    lending: options.reclamation,
    togetherBy: options.cells,
    maintenanceNoticeMs: options.maintenanceNoticeMs,
    quotas: true,
    reservations: true,
  };
}

/** What looks like chance is a hash of how much was requested and placed before: the same log decides the same. */
class BorgRound implements PlacementStrategy {
  readonly #cluster: Cluster;
  readonly #options: BorgOptions;
  readonly #now: number;
  readonly #pool: WindowPool;
  readonly #windows = bands.map(() => new Map<Shape, CandidateWindow>());
  readonly #seed: number;
  #last: { shape: Shape; tier: number; window: CandidateWindow } | undefined;

  constructor(cluster: Cluster, options: BorgOptions, now: number, pool: WindowPool) {
    this.#cluster = cluster;
    this.#options = options;
    this.#now = now;
    this.#pool = pool;
    this.#seed = scatter(cluster.placements + cluster.requested);
  }

  /**
   * Quota is checked at admission (section 2.5): who is over it is not considered at all. At priority 0 it is infinite.
   * What runs in an alloc was paid for with the alloc.
   */
  hold(record: InstanceRecord) {
    const { owners, allocs } = this.#cluster;
    if (allocs.asks(record)) return this.#holdForAlloc(record);
    return record.priority === 0 && !owners.isStopped(record.kin.profile.owner)
      ? undefined
      : owners.obstacle(record, this.#now);
  }

  #holdForAlloc(record: InstanceRecord) {
    if (this.#alloc(record)) return undefined;
    const { reservation } = record.kin.profile;
    const set = this.#cluster.allocs.sets.get(reservation!);
    const parts = set?.allocs.filter((alloc) => alloc && alloc.record.slot >= 0).length ?? 0;
    const message = set
      ? `none of the ${parts} placed parts of reservation ${reservation} has room, ${set.spec.count} are wanted`
      : `there is no reservation ${reservation}`;
    return { constraint: 'reservation', message };
  }

  #alloc(record: InstanceRecord) {
    const { nodes, allocs } = this.#cluster;
    return allocs.choose(
      record,
      (slot) =>
        nodes.open[slot] === 1 &&
        nodes.meets(slot, record.shape) &&
        (record.shape.demand.node === undefined || nodes.slotOf(record.shape.demand.node) === slot) &&
        this.#cluster.companyAllows(record, slot),
    );
  }

  choose(record: InstanceRecord): number {
    const { shape } = record;
    const { nodes } = this.#cluster;
    if (this.#cluster.allocs.asks(record)) return this.#alloc(record)?.record.slot ?? -1;
    if (shape.demand.node !== undefined) {
      const slot = nodes.slotOf(shape.demand.node);
      return slot >= 0 && this.#fits(slot, record) ? slot : -1;
    }
    if (this.#last?.shape !== shape || this.#last.tier !== record.tier) {
      this.#last = { shape, tier: record.tier, window: this.#window(record) };
    }
    return this.#last.window.best(record);
  }

  preempt(record: InstanceRecord, spared: ReadonlySet<InstanceRecord>): Preemption | undefined {
    const { nodes, allocs } = this.#cluster;
    if (!this.#options.preemption || record.tier === 0 || nodes.count === 0 || allocs.asks(record)) return undefined;
    return findPreemption(this.#cluster, record, spared, this.#seed % nodes.count);
  }

  #fits(slot: number, record: InstanceRecord): boolean {
    const { nodes, options } = this.#cluster;
    const free = record.tier === 0 && options.lending ? nodes.spare : nodes.free;
    return nodes.fits(slot, record.shape, free) && this.#cluster.companyAllows(record, slot);
  }

  #window(record: InstanceRecord): CandidateWindow {
    const windows = this.#windows[record.tier]!;
    let window = windows.get(record.shape);
    if (!window) {
      window = this.#pool.take();
      window.begin(this.#cluster, record, scatter(this.#seed + windows.size));
      windows.set(record.shape, window);
    }
    return window;
  }
}
