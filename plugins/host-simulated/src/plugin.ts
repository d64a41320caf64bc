import { definePlugin, type HostInventory } from '@cloudos/sdk';
import { concatWith, NEVER, Subject, takeUntil } from 'rxjs';
import { z } from 'zod';
import { simulatedHosts } from './simulated-hosts.ts';

const amount = z.number().nonnegative();
const gibibyte = 1024 ** 3;

/** Configuration of host-simulated: what each machine has. */
export const simulatedHostConfig = z.strictObject({
  /** Which world of the process the machines live in. */
  world: z.string().min(1).default('default'),
  cpuMillis: amount.default(16_000),
  memoryBytes: amount.default(64 * gibibyte),
  diskBytes: amount.default(500 * gibibyte),
  pids: amount.default(100_000),
  custom: z.record(z.string(), amount).optional(),
  /** Attributes besides `os`, `arch`, `kernel`, `hostname`, `zone`, `rack`; these win over those. */
  attributes: z.record(z.string(), z.string()).default({}),
  /**
   * Failure domains. The number at the end of the node's name (`n17`: 17) says which one the machine is in:
   * `zone-<number modulo zones>` and `rack-<number modulo racks>`. 0 leaves the attribute out.
   */
  zones: z.int().nonnegative().default(3),
  racks: z.int().nonnegative().default(20),
});
export type SimulatedHostConfig = z.infer<typeof simulatedHostConfig>;

/** Machines that exist only in this process. The reference implementation of the slot. */
export default definePlugin({
  name: 'host-simulated',
  slot: 'host',
  apiVersion: 1,
  description: 'Simulated machines, thousands in one process',
  supports: { capacityChanges: true },
  config: simulatedHostConfig,
  async create({ scope, node }, config) {
    if (!node) throw new TypeError('host-simulated serves a node: the context names none');
    const hosts = simulatedHosts(config.world);
    const configured = inventoryOf(node.id, config);
    const detached = await scope.acquire(
      'simulated host',
      () => new Subject<void>(),
      (subject) => {
        subject.next();
        subject.complete();
      },
    );
    return {
      // a completion would mean that the host is lost: a closed driver falls silent instead
      inventory: () => hosts.inventory(node.id, configured).pipe(takeUntil(detached), concatWith(NEVER)),
      checks: async () => [{ name: 'host', status: 'ok' as const, found: `simulated, world ${config.world}` }],
    };
  },
});

function inventoryOf(node: string, config: SimulatedHostConfig): HostInventory {
  const { cpuMillis, memoryBytes, diskBytes, pids, custom } = config;
  const ordinal = Number.parseInt(/(\d{1,15})$/.exec(node)?.[1] ?? '0', 10);
  return {
    capacity: { cpuMillis, memoryBytes, diskBytes, pids, ...(custom ? { custom } : {}) },
    attributes: {
      os: 'simulated',
      arch: 'simulated',
      kernel: 'simulated',
      hostname: node,
      ...(config.zones > 0 ? { zone: `zone-${ordinal % config.zones}` } : {}),
      ...(config.racks > 0 ? { rack: `rack-${ordinal % config.racks}` } : {}),
      ...config.attributes,
    },
  };
}
