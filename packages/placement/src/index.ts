export { Alloc, type AllocSet, AllocSets, allocId } from './alloc-sets.ts';
export { Cluster } from './cluster.ts';
export type { AdmittedRequest, ClusterOptions } from './cluster-options.ts';
export { clusterSnapshot } from './cluster-snapshot.ts';
export { type BoundRule, bears, CompanyIndex, describeRule, meets } from './company.ts';
export { CustomColumn } from './custom-column.ts';
export { DomainCount } from './domain-count.ts';
export { FitIndex, type FitQuery, visitWord } from './fit-index.ts';
export { hasImage } from './images.ts';
export { InstanceRecord, type Phase } from './instance-record.ts';
export { Kin } from './kin.ts';
export { decideMaintenance } from './maintenance.ts';
export { decideNodeCommand, isNodeCommand, type NodeCommand, unsupportedCommand } from './node-commands.ts';
export { applyNodeEvent, maintenanceReason } from './node-events.ts';
export type { NodeFacts, NodeState } from './node-facts.ts';
export { NodeTable } from './node-table.ts';
export {
  decideMaintenanceCommand,
  decideOwnerCommand,
  isMaintenanceCommand,
  isOwnerCommand,
} from './owner-commands.ts';
export { lineage, OwnerTree, Quota } from './owner-tree.ts';
export { PendingGroup } from './pending-group.ts';
export { PendingGroups } from './pending-groups.ts';
export { PendingWalk } from './pending-walk.ts';
export { type PlacementPolicyOptions, placementPolicy } from './placement-policy.ts';
export {
  decideRound,
  maintenanceNoticeDefaultMs,
  type PlacementStrategy,
  type Preemption,
  type RoundLimits,
} from './placement-round.ts';
export { Profile, Profiles } from './profile.ts';
export { describeConstraint, matches, type NodeTraits, Requirement } from './requirement.ts';
export { decideReservationCommand, isReservationCommand } from './reservation-commands.ts';
export { Residents } from './residents.ts';
export { type Dimension, describeAmount, dimensions, readVector, width, writeVector } from './resource-vector.ts';
export { Scope } from './scope.ts';
export { type Demand, Shape, Shapes } from './shape.ts';
export { SlotCounts } from './slot-counts.ts';
export { explainUnplaceable, type Reasons, signatureOf } from './unplaceable.ts';
export { WorkloadRecord } from './workload-record.ts';
