export { type BootOptions, bootKernel } from './boot.ts';
export { examine } from './doctor.ts';
export type { CommandOptions, Kernel, SlotCommand } from './kernel.ts';
export { PolicyRunner, type PolicyRunnerOptions, policyLimits } from './policy/policy-runner.ts';
export { snapshotKeyOf } from './policy/policy-seat.ts';
export type { KernelLimits } from './running-kernel.ts';
export { pluginDataDir } from './slot-factory.ts';
export { type PluginEntry, parseStack, readStack, type Stack, type StackNode } from './stack/stack.ts';
export { kernelVersion } from './version.ts';
