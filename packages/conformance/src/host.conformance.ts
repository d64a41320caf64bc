import type { HostDriver, HostInventory, PluginDefinition } from '@cloudos/sdk';
import { resourceVector } from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type PluginContextOptions, pluginContext, type TestPluginContext } from './plugin-context.ts';

export interface HostConformanceOptions {
  readonly config?: unknown;
  /** Why the suite cannot run here, with the command that would change it. Undefined: it can. */
  readonly prerequisite?: () => string | undefined;
  readonly context?: Pick<PluginContextOptions, 'clock'>;
  /** Attributes that the plugin promises to tell. Default: `os`, `arch`, `kernel`, `hostname`. */
  readonly attributes?: readonly string[];
}

/** What every `host` plugin promises. Call it once in a spec file. */
export function hostConformance<Config>(
  plugin: PluginDefinition<'host', Config>,
  options: HostConformanceOptions,
): void {
  const obstacle = options.prerequisite?.();
  const title = `host conformance of ${plugin.name}${obstacle ? ` (cannot run: ${obstacle})` : ''}`;
  describe.skipIf(obstacle !== undefined)(title, () => {
    let context: TestPluginContext;
    let driver: HostDriver;
    beforeAll(async () => {
      context = await pluginContext({ ...options.context, node: { id: 'conformance' } });
      driver = await plugin.create(context, plugin.config.parse(options.config ?? {}));
    });
    afterAll(() => context.scope.close());

    const inventory = (): Promise<HostInventory> => firstValueFrom(driver.inventory());

    test('the inventory is told at once, as plain data', async () => {
      const { capacity, attributes } = await inventory();
      expect(resourceVector.parse(capacity)).toEqual(capacity);
      expect(capacity.cpuMillis).toBeGreaterThan(0);
      expect(capacity.memoryBytes).toBeGreaterThan(0);
      for (const [name, value] of Object.entries(attributes)) expect(typeof value, name).toBe('string');
    });
    test('the promised attributes are there', async () => {
      const { attributes } = await inventory();
      for (const name of options.attributes ?? ['os', 'arch', 'kernel', 'hostname']) {
        expect(attributes[name], name).toBeTruthy();
      }
    });
    test('each subscriber gets the same inventory', async () => {
      const [one, other] = await Promise.all([inventory(), inventory()]);
      expect(one).toEqual(other);
    });
    test('each check says what was found, and what to do where something is amiss', async () => {
      const checks = await driver.checks();
      expect(new Set(checks.map((check) => check.name)).size).toBe(checks.length);
      for (const check of checks) {
        expect(check.name).not.toBe('');
        expect(check.found, check.name).not.toBe('');
        if (check.status !== 'ok') expect(check.remedy, check.name).toBeTruthy();
      }
    });
    test('closing the scope ends what it started', async () => {
      const own = await pluginContext({ ...options.context, node: { id: 'conformance' } });
      const other = await plugin.create(own, plugin.config.parse(options.config ?? {}));
      await firstValueFrom(other.inventory());
      await own.scope.close();
      expect(own.scope.open()).toEqual([]);
    });
  });
}
