export { type Clock, delay, type IdSource, systemClock } from './clock.ts';
export {
  type CommandOptions,
  type OrchestratorCommand,
  orchestratorCommand,
  type ResourcesCommand,
  resourcesCommand,
  type SlotCommand,
} from './commands.ts';
export {
  asCloudosError,
  CloudosError,
  type CloudosErrorOptions,
  type ErrorBody,
  type ErrorCode,
  type ErrorOrigin,
  errorCode,
  errorCodes,
  hasCode,
  isRefusal,
  messageOf,
  type Refusal,
  refuse,
} from './errors.ts';
export { type EventMeta, isPrivateType, type NewEvent, type Producer, type RecordedEvent } from './event.ts';
export {
  compileKeys,
  type EventKey,
  type EventKeyKind,
  eventKey,
  eventKeyKinds,
  partsOfKey,
  visitKeys,
} from './event-keys.ts';
export {
  checkEvent,
  describeIssues,
  type EventData,
  event,
  eventsByLayer,
  jsonSchemaOf,
  type SharedEvent,
  type SharedEventType,
  schemaVersionOf,
  schemaVersions,
  sharedEvents,
} from './events/index.ts';
export { type ReservationSpec, reservationSpec } from './events/resources.events.ts';
export { newId } from './ids.ts';
export {
  type AppendResult,
  type Backpressure,
  type Direction,
  type EventLog,
  type ExpectedRevision,
  type Filter,
  type GlobalRange,
  type LogDamage,
  type LogProvider,
  type LogReport,
  readBatchMax,
  type Snapshot,
  type SnapshotInfo,
  type SnapshotStore,
  type StoredBatch,
  type StoredEvents,
  type StreamRange,
  type TrimResult,
} from './log.ts';
export { type Logger, type LogLevel, silentLogger } from './logger.ts';
export { compileNames, namesRememberedMax } from './name-patterns.ts';
export { type PlacementRule, placementRule, workloadTag } from './placement-rule.ts';
export {
  type AnyPlugin,
  apiVersion,
  type ContextOf,
  definePlugin,
  type PluginContext,
  type PluginDefinition,
} from './plugin.ts';
export { type Decision, nothing, type Policy, type PolicySnapshot } from './policy.ts';
export {
  type Constraint,
  constraint,
  owner,
  ownerDefault,
  type PriorityRange,
  priorityRange,
  type ResourceBounds,
  type ResourceVector,
  resourceBounds,
  resourceVector,
} from './resources.ts';
export { closeDeadlineMs, Scope } from './scope.ts';
export { Semaphore } from './semaphore.ts';
export type { ApiAddress, ApiContext, ApiDriver, KernelAccess } from './slots/api.ts';
export type {
  ExecRequest,
  ExecSession,
  ExitReason,
  GuestAddress,
  GuestContainerChange,
  GuestContainerStatus,
  GuestDriver,
  GuestExit,
  GuestFingerprint,
  GuestHealth,
  GuestSnapshot,
  GuestSpec,
  GuestState,
  GuestStats,
  GuestStatus,
  LogRequest,
  OutputChunk,
  ProbeResult,
} from './slots/guest.ts';
export { refuseContainers } from './slots/guest-containers.ts';
export { refuseOptions } from './slots/guest-options.ts';
export { type GuestSupport, guestSupports } from './slots/guest-supports.ts';
export type { HostCheck, HostDriver, HostInventory } from './slots/host.ts';
export { type SlotName, type SlotProviders, type SlotTraits, slots } from './slots/index.ts';
export type { IngressDriver, IngressService, ServiceAddress } from './slots/ingress.ts';
export type {
  ClusterView,
  CommandResult,
  DoctorReport,
  Explanation,
  ExplanationStep,
  InstanceState,
  InstanceView,
  KernelStatus,
  NodeView,
  PlacementMeasures,
  PluginView,
  ServiceView,
  ShadowAgreement,
  ShadowRequest,
  ShadowView,
  SwapRequest,
  SwapResult,
  WorkloadView,
} from './views.ts';
export {
  type Endpoint,
  type EnvironmentVariable,
  endpoint,
  environmentVariable,
  type GuestContainer,
  type GuestLimits,
  type GuestMount,
  type GuestTemplate,
  guestContainer,
  guestContainersMax,
  guestLimits,
  guestMount,
  guestTemplate,
  type Probe,
  probe,
  type ServiceSpec,
  serviceSpec,
  tellsReadiness,
  type UpdateStrategy,
  updateStrategy,
  type WorkloadSpec,
  workloadSpec,
} from './workload.ts';
