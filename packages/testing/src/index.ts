export {
  atTime,
  expectedData,
  guestCreated,
  guestExited,
  guestFailed,
  guestHealthy,
  guestRemoved,
  guestStarted,
  guestUnhealthy,
  instancePlaced,
  instancePreempted,
  instanceRequested,
  instanceRestartOrdered,
  instanceUnplaceable,
  instanceWithdrawn,
  nodeCordoned,
  nodeDrained,
  nodeJoined,
  nodeLeft,
  nodeLost,
  nodeUncordoned,
  resources,
  rolloutAdvanced,
  serviceDeclared,
  serviceEndpointsChanged,
  serviceRemoved,
  workload,
  workloadChanged,
  workloadDeclared,
  workloadRemoved,
} from './events.ts';
export { type FiredFault, firedFaultsMax, SeededFaults } from './faults.ts';
export { fullDirectory } from './full-directory.ts';
export { type GuestDirectories, guestTraces } from './guest-traces.ts';
export { Life } from './mortal.ts';
export {
  at,
  type Events,
  type ExpectedRefusal,
  type Moment,
  PolicySpec,
  type PolicySpecOptions,
  policySpec,
  refused,
  replayCutsMax,
} from './policy-spec.ts';
export { PolicyRun, type RunInput, type RunOutcome, settleRoundsMax } from './policy-spec-run.ts';
export { SeededRandom, seededIds } from './seeded-random.ts';
export { type PluginChoice, SimulatedCluster, type SimulatedClusterOptions } from './simulated-cluster.ts';
export { timersPerRunMax, VirtualClock, type VirtualClockOptions } from './virtual-clock.ts';
