export { Bundle } from './bundle.ts';
export { type MesosConfig, mesosConfig } from './config.ts';
export { frameworkCommands } from './framework-commands.ts';
export {
  asFrameworkEvent,
  type FrameworkEvent,
  type FrameworkEvents,
  frameworkEvent,
  type LaunchData,
  type OfferData,
  privatePrefix,
} from './framework-events.ts';
export { mesosPolicy } from './mesos.policy.ts';
export { clusterOptions, frameworkPrefix, MesosState } from './mesos-state.ts';
export { default } from './plugin.ts';
export { ShareNode, ShareTree } from './share-tree.ts';
