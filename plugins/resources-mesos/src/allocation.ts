import { decideMaintenance } from '@cloudos/placement';
import type { Decision } from '@cloudos/sdk';
import { AllocationRound } from './allocation-round.ts';
import { houseKeeping } from './house-keeping.ts';
import type { MesosState } from './mesos-state.ts';
import { offersWakeAt } from './outside-offers.ts';

/**
 * One `react`. What is due comes first: maintenance, offers and launches that have waited long enough, frameworks that
 * stay away. Then agents are drained, launches become instances, and the rest is allocated in the order of fairness.
 * What is decided is tried out on the state and taken back: the state is left as it was.
 */
export function allocate(state: MesosState, now: number): Decision {
  const due = [decideMaintenance(state.cluster, state.config.maintenanceLeadMs, now), houseKeeping(state, now)];
  const events = due.flatMap((each) => each.events);
  // what they change is taken in before anything else is decided
  if (events.length > 0) return { events, wakeAt: now };
  const { groups, draining } = state.cluster;
  const wakeAt = Math.min(...due.map((each) => each.wakeAt ?? Number.POSITIVE_INFINITY), offersWakeAt(state, now));
  const waking = Number.isFinite(wakeAt) ? { wakeAt } : {};
  if (groups.size === 0 && draining.size === 0 && state.frameworks.all.size === 0) return { events: [], ...waking };
  const round = new AllocationRound(state, now);
  try {
    round.run();
  } finally {
    round.takeBack();
  }
  return round.exhausted ? { events: round.events, wakeAt: now } : { events: round.events, ...waking };
}
