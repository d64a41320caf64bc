import { pluginContext } from '@cloudos/conformance';
import type { HostInventory } from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import { afterEach, describe, expect, it } from 'vitest';
import plugin, { simulatedHostConfig } from './plugin.ts';
import { simulatedHosts } from './simulated-hosts.ts';

const hosts = simulatedHosts('plugin-spec');
afterEach(() => hosts.reset());

async function host(node: string, config: Record<string, unknown> = {}) {
  const context = await pluginContext({ node: { id: node } });
  const driver = await plugin.create(context, simulatedHostConfig.parse({ world: 'plugin-spec', ...config }));
  return { driver, scope: context.scope };
}

describe('host-simulated', () => {
  it('has what is configured, in the zone and rack of its number', async () => {
    const { driver } = await host('n7', { cpuMillis: 4_000, zones: 3, racks: 5, custom: { gpu: 2 } });
    const inventory = await firstValueFrom(driver.inventory());
    expect(inventory.capacity).toMatchObject({ cpuMillis: 4_000, custom: { gpu: 2 } });
    expect(inventory.attributes).toMatchObject({ hostname: 'n7', zone: 'zone-1', rack: 'rack-2' });
  });

  it('lets configured attributes win, and leaves out domains that are switched off', async () => {
    const { driver } = await host('n1', { zones: 0, attributes: { rack: 'mine', ssd: 'yes' } });
    const { attributes } = await firstValueFrom(driver.inventory());
    expect(attributes).toMatchObject({ rack: 'mine', ssd: 'yes' });
    expect(attributes).not.toHaveProperty('zone');
  });

  it('tells of changes, and of its loss; comes back when restored', async () => {
    const { driver } = await host('n1');
    const seen: HostInventory[] = [];
    let lost: unknown;
    driver.inventory().subscribe({
      next: (inventory) => seen.push(inventory),
      error: (error) => {
        lost = error;
      },
    });
    hosts.setCapacity('n1', { cpuMillis: 1, memoryBytes: 2, diskBytes: 3, pids: 4 });
    expect(seen).toHaveLength(2);
    expect(seen[1]?.capacity.cpuMillis).toBe(1);
    hosts.lose('n1', 'power is out');
    expect(lost).toMatchObject({ code: 'RUNTIME_UNAVAILABLE', message: 'host n1: power is out' });
    hosts.restore('n1');
    expect((await firstValueFrom(driver.inventory())).capacity.cpuMillis).toBe(1);
  });

  it('falls silent when its scope closes: the host is not lost', async () => {
    const { driver, scope } = await host('n1');
    let ended = false;
    let seen = 0;
    driver.inventory().subscribe({
      next: () => seen++,
      complete: () => {
        ended = true;
      },
    });
    await scope.close();
    hosts.setCapacity('n1', { cpuMillis: 1, memoryBytes: 2, diskBytes: 3, pids: 4 });
    expect(ended).toBe(false);
    expect(seen).toBe(1);
  });

  it('refuses a negative capacity', () => {
    expect(simulatedHostConfig.safeParse({ cpuMillis: -1 }).success).toBe(false);
    expect(simulatedHostConfig.safeParse({ cpus: 1 }).success).toBe(false);
  });
});
