export {
  type ControlGroupLayout,
  ControlGroups,
  type Controller,
  findControlGroups,
  type LayoutQuestion,
} from './control-groups.ts';
export { digest, guestName, hostName } from './guest-name.ts';
export {
  type CommandOptions,
  closedStdio,
  findTool,
  runCommand,
  shellWord,
  toolEnvironment,
  toolPath,
} from './host-command.ts';
export { InstanceLocks } from './instance-locks.ts';
export {
  isAlive,
  type ProcessIdentity,
  processesWithArgument,
  signalProcess,
  startTimeOf,
} from './process-table.ts';
