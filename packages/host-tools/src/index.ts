export {
  type ControlGroupLayout,
  ControlGroups,
  type Controller,
  findControlGroups,
  type LayoutQuestion,
} from './control-groups.ts';
export { type FileLockOptions, withFileLock } from './file-lock.ts';
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
export { type CheckedMount, checkMounts } from './host-paths.ts';
export { InstanceLocks } from './instance-locks.ts';
export {
  isAlive,
  type ProcessIdentity,
  processesWithArgument,
  signalProcess,
  startTimeOf,
} from './process-table.ts';
export { resolveEnvironment, secretsDirectory } from './secrets.ts';
export { removeTree } from './tree-removal.ts';
