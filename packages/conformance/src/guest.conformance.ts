import type { GuestSupport, PluginDefinition } from '@cloudos/sdk';
import { afterAll, afterEach, beforeAll, describe } from 'vitest';
import { adoptionTests } from './guest/guest-adoption.ts';
import { openWaits } from './guest/guest-bounds.ts';
import { faultTests } from './guest/guest-faults.ts';
import { type GuestConformanceOptions, GuestHarness, type GuestSuitePart } from './guest/guest-harness.ts';
import { interactionTests } from './guest/guest-interaction.ts';
import { isolationTests } from './guest/guest-isolation.ts';
import { lifecycleTests } from './guest/guest-lifecycle.ts';
import { limitTests } from './guest/guest-limits.ts';
import { podTests } from './guest/guest-pods.ts';
import { defaultCommands, defaultPrograms, type GuestCommands, type GuestPrograms } from './guest/guest-programs.ts';
import { secretTests } from './guest/guest-secrets.ts';
import { snapshotTests } from './guest/guest-snapshots.ts';

/** What each part of the suite works with. */
export interface GuestSuite {
  readonly harness: () => GuestHarness;
  readonly programs: GuestPrograms;
  readonly commands: GuestCommands;
  readonly supports: Readonly<Partial<Record<GuestSupport, boolean>>>;
  readonly options: GuestConformanceOptions;
}

/**
 * What every `guest` plugin promises, tested on the plugin as it is. Call it once in a spec file.
 *
 * `plugin.supports` selects tests by the names of `guestSupports` in the sdk. What is not `true` is tested to be absent
 * or refused. What the plugin supports and the fingerprint says this node cannot give (`features.memoryLimit: false`) is
 * skipped by name.
 */
export function guestConformance<Config>(
  plugin: PluginDefinition<'guest', Config>,
  options: GuestConformanceOptions,
): void {
  const obstacle = options.prerequisite?.();
  const title = `guest conformance of ${plugin.name}${obstacle ? ` (cannot run: ${obstacle})` : ''}`;
  describe.skipIf(obstacle !== undefined)(title, () => {
    let open: GuestHarness | undefined;
    const suite: GuestSuite = {
      harness: () => {
        if (!open) throw new Error('the suite is not open');
        return open;
      },
      programs: { ...defaultPrograms, ...options.programs },
      commands: { ...defaultCommands, ...options.commands },
      supports: { ...plugin.supports, ...Object.fromEntries((options.lacks ?? []).map((name) => [name, false])) },
      options,
    };
    beforeAll(async () => {
      open = await GuestHarness.open(plugin as PluginDefinition<'guest', unknown>, options);
    }, 120_000);
    afterEach(async () => {
      const harness = suite.harness();
      const { driver } = harness;
      await Promise.all((await driver.list()).map((guest) => driver.remove(guest.instance)));
    });
    afterEach(({ task }) => {
      const waits = task.result?.state === 'fail' ? openWaits() : [];
      if (waits.length > 0) throw new Error(`when the test failed, it waited for:\n  ${waits.join('\n  ')}`);
    });
    afterAll(() => open?.close(), 120_000);

    for (const part of options.parts ?? (Object.keys(suiteParts) as GuestSuitePart[])) suiteParts[part](suite);
  });
}

const suiteParts: Readonly<Record<GuestSuitePart, (suite: GuestSuite) => void>> = {
  lifecycle: lifecycleTests,
  interaction: interactionTests,
  limits: limitTests,
  isolation: isolationTests,
  pods: podTests,
  secrets: secretTests,
  snapshots: snapshotTests,
  faults: faultTests,
  adoption: adoptionTests,
};
