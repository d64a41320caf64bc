import { runCommand } from '@cloudos/host-tools';
import { CloudosError, messageOf } from '@cloudos/sdk';

const toolMaxMs = 60_000;

/** Runs a tool that writes a file. @throws CloudosError DISK_FULL where it says so; HOST_COMMAND_FAILED */
export async function runTool(tool: string, args: readonly string[]): Promise<void> {
  try {
    await runCommand(tool, args, { timeoutMs: toolMaxMs });
  } catch (error) {
    // strerror(ENOSPC), as tools print it in the locale that they are given.
    if (!messageOf(error).includes('No space left on device')) throw error;
    throw new CloudosError('DISK_FULL', messageOf(error), { cause: error });
  }
}
