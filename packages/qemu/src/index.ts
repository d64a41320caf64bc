export { type Accelerator, type AcceleratorChoice, chooseAccelerator, findQemu, judge } from './accelerator.ts';
export { type AgentProgram, buildAgent, buildObstacle } from './agent-build.ts';
export { AgentConnection, refusal } from './agent-connection.ts';
export { AgentConnections } from './agent-connections.ts';
export { type ExecDefaults, execByAgent } from './agent-exec.ts';
export { identity } from './agent-identity.ts';
export { type AgentMessage, containerChannel, decode, type Fields, types } from './agent-message.ts';
export { bareCarrier, withoutPrivileges } from './bare-carrier.ts';
export type { Carrier, QemuEnd, QemuLaunch, QemuRun } from './carrier.ts';
export { explainEnd } from './explain-end.ts';
export { loadState, migrated, saveState } from './migration.ts';
export {
  checkMachineMounts,
  hasMounts,
  type MachineMounts,
  mountFields,
  mountsObstacle,
} from './mounts.ts';
export { killedWithParent } from './parent-death.ts';
export { ProcessCarrier, type ProcessCarrierOptions, prepareRun, startScript } from './process-carrier.ts';
export { QmpClient, type QmpConnectOptions, type QmpEvent, withQmp } from './qmp.ts';
export { type ShimPlan, shimScript } from './shim-script.ts';
export { beginAsCopy, bootTemplate, type TemplateBoot } from './template-boot.ts';
export { TemplateStore } from './template-store.ts';
export { connectUnix, listenUnix } from './unix-socket.ts';
export { VmDriver, type VmDriverParts, type VmEnvironmentSource } from './vm.driver.ts';
export { vmConfigShape } from './vm-config.ts';
export { containerIndex, furtherContainers } from './vm-containers.ts';
export type { Machine, Vm, VmFlavour } from './vm-flavour.ts';
export { VmImages } from './vm-image.ts';
export { qmpPath, type VmSettings } from './vm-lifecycle.ts';
export { inside, netdev, portsNetwork, type VmBridge } from './vm-network.ts';
export { createVmDriver, type VmConfig, type VmHost, type VmRuntime, type Warnings } from './vm-plugin.ts';
export { VmSnapshots } from './vm-snapshots.ts';
export { machineDir, type VmNetworkState, type VmState, VmStore } from './vm-state.ts';
export { type VmEnvironment, viewVm } from './vm-view.ts';
export { VmWatch } from './vm-watch.ts';
