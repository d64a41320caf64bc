import { clusterSnapshot } from '@cloudos/placement';
import type { EventData, PolicySnapshot, ResourceVector } from '@cloudos/sdk';
import { Bundle } from './bundle.ts';
import type { MesosConfig } from './config.ts';
import type { FrameworkEvents, LaunchData, OfferData, Unavailability } from './framework-events.ts';
import { clusterOptions, MesosState } from './mesos-state.ts';

interface SavedMesos {
  readonly cluster: unknown;
  readonly quotas: readonly EventData<'QuotaSet'>[];
  readonly stopped: readonly string[];
  readonly reservations: readonly (readonly [slot: number, data: Omit<EventData<'ResourcesReserved'>, 'node'>])[];
  readonly offersMade: number;
  /** Absent before the first. */
  readonly offeredAt?: number;
  readonly frameworks: readonly {
    readonly data: FrameworkEvents['FrameworkSubscribed'];
    readonly active: boolean;
    readonly disconnectedAt: number;
    readonly suppressed: readonly string[];
    readonly filters: readonly (readonly [slot: number, role: string, amounts: ResourceVector, until: number])[];
  }[];
  readonly offers: readonly (readonly [data: OfferData, slot: number, at: number])[];
  readonly launches: readonly (readonly [framework: string, data: LaunchData, slot: number, at: number])[];
  readonly inverseOffers: readonly {
    readonly offer: string;
    readonly framework: string;
    readonly slot: number;
    readonly unavailability: Unavailability;
  }[];
}

/** Saves and loads the whole state. Shares and what is used follow from it. */
export function mesosSnapshot(config: MesosConfig): PolicySnapshot<MesosState> {
  const inner = clusterSnapshot(clusterOptions);
  return {
    version: 2 + 1_000 * inner.version,
    save: (state) => ({ ...structuredClone(save(state)), cluster: inner.save(state.cluster) }),
    load(saved) {
      const given = saved as SavedMesos;
      return load(given, new MesosState(config, inner.load(given.cluster)));
    },
  };
}

function save({ quotas, reservations, frameworks }: MesosState): Omit<SavedMesos, 'cluster'> {
  return {
    quotas: [...quotas.all.values()].map(({ data }) => data),
    stopped: [...quotas.stopped],
    reservations: [...reservations.slots].flatMap((slot) =>
      reservations
        .on(slot)
        .filter(({ fixed }) => !fixed)
        .map(({ owner, labels, principal, reservation, index, amounts }) => {
          const data = {
            ...{ owner, resources: amounts.vector, labels },
            ...(principal !== undefined && { principal }),
            ...(reservation !== undefined && { reservation }),
            ...(index !== undefined && { index }),
          };
          return [slot, data] as const;
        }),
    ),
    offersMade: frameworks.offersMade,
    ...(Number.isFinite(frameworks.offeredAt) && { offeredAt: frameworks.offeredAt }),
    frameworks: [...frameworks.all.values()].map(({ data, active, disconnectedAt, suppressed, filters }) => ({
      ...{ data, active, disconnectedAt },
      suppressed: [...suppressed],
      filters: [...filters].flatMap(([slot, each]) =>
        each.map(({ role, amounts, until }) => [slot, role, amounts.vector, until] as const),
      ),
    })),
    offers: [...frameworks.offers.values()].map(({ data, slot, at }) => [data, slot, at] as const),
    launches: [...frameworks.launches.values()].map(({ framework, data, slot, at }) => [framework, data, slot, at]),
    inverseOffers: [...frameworks.inverseOffers.values()],
  };
}

function load(saved: SavedMesos, state: MesosState): MesosState {
  const { quotas, reservations, frameworks } = state;
  const { factsChangedAt } = state.cluster;
  for (const quota of saved.quotas) quotas.set(quota);
  for (const owner of saved.stopped) quotas.setState({ owner, state: 'stopped' });
  for (const [slot, data] of saved.reservations) reservations.reserve(slot, data);
  for (const { data, active, disconnectedAt, suppressed, filters } of saved.frameworks) {
    frameworks.subscribe({ ...data, suppressed });
    const framework = frameworks.all.get(data.framework)!;
    Object.assign(framework, { data, active, disconnectedAt });
    for (const [slot, role, amounts, until] of filters) {
      const each = framework.filters.get(slot) ?? [];
      framework.filters.set(slot, [...each, { role, amounts: Bundle.of(amounts), until }]);
    }
  }
  for (const [data, slot, at] of saved.offers) frameworks.offer(data, slot, at);
  for (const [framework, data, slot, at] of saved.launches) frameworks.launch(framework, data, slot, at);
  for (const offer of saved.inverseOffers) frameworks.inverse(offer);
  frameworks.offersMade = saved.offersMade;
  frameworks.offeredAt = saved.offeredAt ?? Number.NEGATIVE_INFINITY;
  state.restoreCharges();
  state.cluster.factsChangedAt = factsChangedAt;
  return state;
}
