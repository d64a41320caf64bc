import { type BoundRule, type InstanceRecord, meets } from '@cloudos/placement';
import type { Application } from '../application.ts';
import { usage } from '../node-lookup.ts';
import type { YarnState } from '../yarn-state.ts';

/** What a wish adds to the score of a node that meets it; a rule with the highest weight counts as much as a node. */
const wishWeight = 0.5;

/** The rules about company that are wishes, not requirements. */
export function wishesOf({ kin }: InstanceRecord): readonly BoundRule[] {
  return kin.rules.filter(({ rule }) => !rule.required);
}

/** How near to what the instance wants to be with: on its node, in its rack, anywhere. */
type Locality = 0 | 1 | 2;

/**
 * The best node for an instance with wishes, by delay scheduling (Zaharia et al., EuroSys 2010): an instance that
 * wants to be with others (affinity, as to the data that it reads) waits a while for a node where they are, then a
 * while for a rack where they are, and then takes any. As in the fair scheduler (`locality-delay-node-ms`,
 * `locality-delay-rack-ms`) the wait counts from the last placement of its application. Nobody waits for company that
 * is nowhere. Other wishes (to be apart, to be spread) are weighed and never waited for.
 */
export function preferredNode(
  state: YarnState,
  record: InstanceRecord,
  application: Application,
  now: number,
  reaches: (slot: number) => boolean,
): { slot: number; waitsUntil: number | undefined } {
  const { config } = state;
  const wishes = wishesOf(record);
  const near = (scope: string) =>
    wishes.filter(({ rule, count }) => rule.scope === scope && rule.min !== undefined && count.total > 0);
  const levels = [near('node'), near(config.rackAttribute)] as const;
  const best = bestByLocality(state, record, wishes, levels, reaches);
  const nodeUntil = application.waitingSince + (levels[0].length > 0 ? config.locality.nodeDelayMs : 0);
  const rackUntil = nodeUntil + (levels[1].length > 0 ? config.locality.rackDelayMs : 0);
  const limits = [nodeUntil, rackUntil, Number.POSITIVE_INFINITY];
  for (const locality of [0, 1, 2] as const) {
    if (locality < 2 && levels[locality as 0 | 1].length === 0) continue;
    if (best[locality] >= 0) return { slot: best[locality], waitsUntil: undefined };
    if (now < limits[locality]! && locality < 2 && best.some((slot) => slot >= 0)) {
      return { slot: -1, waitsUntil: limits[locality] };
    }
  }
  return { slot: -1, waitsUntil: undefined };
}

function bestByLocality(
  { cluster }: YarnState,
  record: InstanceRecord,
  wishes: readonly BoundRule[],
  levels: readonly [readonly BoundRule[], readonly BoundRule[]],
  reaches: (slot: number) => boolean,
): [number, number, number] {
  const { nodes } = cluster;
  const { shape } = record;
  const best: [number, number, number] = [-1, -1, -1];
  const scores = [Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let slot = 0; slot < nodes.count; slot++) {
    if (!nodes.fits(slot, shape) || !reaches(slot) || !cluster.companyAllows(record, slot)) continue;
    const meetsAll = (rules: readonly BoundRule[]) => rules.every((bound) => meets(bound, shape.requirement, slot));
    const locality: Locality =
      meetsAll(levels[0]) && levels[0].length > 0 ? 0 : meetsAll(levels[1]) && levels[1].length > 0 ? 1 : 2;
    let score = usage(nodes, slot, shape);
    for (const bound of wishes) {
      if (meets(bound, shape.requirement, slot)) score += (wishWeight * (bound.rule.weight ?? 100)) / 100;
    }
    if (score <= scores[locality]!) continue;
    scores[locality] = score;
    best[locality] = slot;
  }
  return best;
}
