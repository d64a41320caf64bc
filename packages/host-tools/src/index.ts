export {
  type ControlGroupLayout,
  ControlGroups,
  type Controller,
  findControlGroups,
  type LayoutQuestion,
} from './control-groups.ts';
export { DaemonLink, type DaemonLinkOptions } from './daemon-link.ts';
export {
  DaemonWatch,
  type EndsObserver,
  type OwnDaemon,
  type WatchContext,
  type WatchedDaemon,
} from './daemon-watch.ts';
export { type DaemonOptions, DetachedDaemon, endProcess } from './detached-daemon.ts';
export { ExitLedger, type LedgerEntry } from './exit-ledger.ts';
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
export { KillDeadline } from './kill-deadline.ts';
export { logSizes, readLogFiles } from './log-files.ts';
export { LoopVolume, type LoopVolumeOptions, loopVolumeMinBytes } from './loop-volume.ts';
export { type MountEntry, mountAt, mountOf, mountTable, unmountBelow } from './mount-table.ts';
export {
  isAlive,
  type ProcessIdentity,
  processesWithArgument,
  signalProcess,
  startTimeOf,
} from './process-table.ts';
export { GuestRecords } from './records.ts';
export { resolveEnvironment, secretsDirectory } from './secrets.ts';
export { awaitProgram, logBlocks, loggerFunction, passSignalsOn } from './shell-scripts.ts';
export { mountShifted, type ShiftedMount, shiftedMountObstacle } from './shifted-mount.ts';
export { signalName } from './signal-name.ts';
export { timedLogger, timedLoggerFunctions } from './timed-logger.ts';
export { removeTree } from './tree-removal.ts';
export { until } from './until.ts';
export { Wakeups } from './wakeups.ts';
