import { CloudosError, type KernelAccess } from '@cloudos/sdk';
import { NEVER } from 'rxjs';

/** A kernel in which nothing happens: an empty log, an empty cluster, and no policy that would take a command. */
export function idleKernel(): KernelAccess {
  const nobody = () => Promise.reject(new CloudosError('SLOT_EMPTY', 'no policy is in charge of this kernel'));
  const unknown = (subject: string) => new CloudosError('INSTANCE_NOT_FOUND', `no instance ${subject} in the cluster`);
  return {
    log: {
      async *read() {},
      subscribe: () => NEVER,
      head: () => -1,
    },
    status: () => ({ stack: 'idle', pid: process.pid, version: '0.0.0', startedAt: 0, head: -1, stateDir: '' }),
    view: async () => ({ position: -1, time: 0, nodes: [], workloads: [], instances: [], services: [] }),
    plugins: () => [],
    policy: (slot) => ({ plugin: `${slot}-none`, config: {} }),
    command: nobody,
    why: async (subject) => {
      throw unknown(subject);
    },
    exec: async (instance) => {
      throw unknown(instance);
    },
    logs: (instance) => {
      throw unknown(instance);
    },
    stats: async (instance) => {
      throw unknown(instance);
    },
  };
}
