import type { Vm } from '@cloudos/qemu';
import { CloudosError, type GuestSpec } from '@cloudos/sdk';

/** Less than that Debian's kernel does not boot in. */
export const memoryMinBytes = 80 * 2 ** 20;

/** What is kept about a guest. */
export interface Own {
  readonly digest: string;
  /** Empty: the machine itself is the guest. */
  readonly command: readonly string[];
  readonly diskBytes: number;
}

export function ownOf(state: Vm['state']): Own {
  return state.own as unknown as Own;
}

/** @throws CloudosError GUEST_SPEC_INVALID */
export function checkSpec({ instance, template }: GuestSpec): void {
  const refuse = (what: string): never => {
    throw new CloudosError('GUEST_SPEC_INVALID', `${instance}: ${what}`);
  };
  const { memoryBytes, pids } = template.limits;
  if (memoryBytes > 0 && memoryBytes < memoryMinBytes) {
    refuse(`a virtual machine with Linux needs ${memoryMinBytes} bytes of memory at the least, not ${memoryBytes}`);
  }
  if (template.workingDir !== undefined && !template.workingDir.startsWith('/')) {
    refuse(`the working directory ${template.workingDir} is not an absolute path`);
  }
  if (template.command?.length || template.args?.length) return;
  if (pids > 0) refuse('a limit of processes needs a command: it is that of the program, not of the whole system');
  if (template.mounts?.length) refuse('paths of the node need a command: its agent mounts them');
  if (template.readOnlyRoot) refuse('a read-only root needs a command: a complete system writes to its own');
}
