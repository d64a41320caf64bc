export { type ApiConformanceOptions, apiConformance } from './api.conformance.ts';
export type { GuestConformanceOptions, GuestHarness, GuestSuitePart } from './guest/guest-harness.ts';
export {
  busyboxCommands,
  busyboxPrograms,
  defaultCommands,
  defaultPrograms,
  type GuestCommands,
  type GuestProgram,
  type GuestPrograms,
  shellPrograms,
} from './guest/guest-programs.ts';
export { guestConformance } from './guest.conformance.ts';
export { type HostConformanceOptions, hostConformance } from './host.conformance.ts';
export { idleKernel } from './idle-kernel.ts';
export { type LogConformanceOptions, logConformance } from './log.conformance.ts';
export {
  type OrchestratorConformanceOptions,
  type OrchestratorManifests,
  orchestratorConformance,
} from './orchestrator.conformance.ts';
export { type PluginContextOptions, pluginContext, type TestPluginContext } from './plugin-context.ts';
export { type ResourcesConformanceOptions, resourcesConformance } from './resources.conformance.ts';
