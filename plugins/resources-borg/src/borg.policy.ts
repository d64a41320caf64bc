import {
  type Cluster,
  type InstanceRecord,
  type PlacementStrategy,
  type Preemption,
  placementPolicy,
  type Shape,
} from '@cloudos/placement';
import type { Policy, ResourcesCommand } from '@cloudos/sdk';
import { bandOf, bands } from './bands.ts';
import { CandidateWindow, scatter } from './candidate-window.ts';
import { findPreemption } from './preemption.ts';

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
}

/** Feasibility, then scoring, with priority bands and preemption, after Borg (Verma et al., EuroSys 2015). */
export function borgPolicy(options: BorgOptions): Policy<Cluster, ResourcesCommand> {
  return placementPolicy(
    {
      name: 'resources-borg',
      tiers: bands.length,
      tierOf: bandOf,
      domains: options.failureDomains,
      eventsMax: options.decisionsMax,
      graceMs: options.graceMs,
    },
    (cluster) => new BorgRound(cluster, options),
  );
}

/** What looks like chance is a hash of how much was requested and placed before: the same log decides the same. */
class BorgRound implements PlacementStrategy {
  readonly #cluster: Cluster;
  readonly #options: BorgOptions;
  readonly #windows = bands.map(() => new Map<Shape, CandidateWindow>());
  readonly #seed: number;
  #last: { shape: Shape; tier: number; window: CandidateWindow } | undefined;

  constructor(cluster: Cluster, options: BorgOptions) {
    this.#cluster = cluster;
    this.#options = options;
    this.#seed = scatter(cluster.placements + cluster.requested);
  }

  choose(record: InstanceRecord): number {
    const { shape } = record;
    const { nodes } = this.#cluster;
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
    const { nodes } = this.#cluster;
    if (!this.#options.preemption || record.tier === 0 || nodes.count === 0) return undefined;
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
      const seed = scatter(this.#seed + windows.size);
      window = new CandidateWindow(this.#cluster, record, this.#options.candidates, seed);
      windows.set(record.shape, window);
    }
    return window;
  }
}
