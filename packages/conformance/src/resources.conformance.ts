import type { PluginDefinition, Policy, ResourcesCommand } from '@cloudos/sdk';
import { beforeAll, describe } from 'vitest';
import { companyTests } from './resources/resources-company.ts';
import { ResourcesHarness, resourcesPolicy } from './resources/resources-harness.ts';
import { nodeTests } from './resources/resources-nodes.ts';
import { placementTests } from './resources/resources-placement.ts';
import { replayTests } from './resources/resources-replay.ts';
import { starvationTests } from './resources/resources-starvation.ts';

export interface ResourcesConformanceOptions {
  /** Configuration as a stack file would give it; goes through the schema of the plugin. */
  readonly config?: unknown;
  /** Seeds of the histories by chance. Default: 1 to 5. A failing test names its seed. */
  readonly seeds?: readonly number[];
  /**
   * What the policy lends in that configuration: to instances below a priority, of what others have requested all but
   * the usage that was estimated and a margin. Absent: it never over-commits, and is held to that.
   */
  readonly lending?: { readonly below: number; readonly margin: number };
}

/** What each part of the suite works with. */
export interface ResourcesSuite {
  /** A new cluster without nodes under a new policy. */
  readonly harness: () => ResourcesHarness;
  readonly policy: () => Policy<unknown, ResourcesCommand>;
  readonly supports: Readonly<Record<string, boolean>>;
  readonly seeds: readonly number[];
  /** Whether anything may be over-committed. */
  readonly lends: boolean;
}

/**
 * What every `resources` plugin promises, tested on the plugin as it is. Call it once in a spec file.
 *
 * Every decision in every test is checked against an account of the log kept by the suite: nothing is placed twice,
 * over capacity, or where a constraint, a runtime, a cordon, a loss, a port of the node or a rule about company forbids it.
 * `plugin.supports` selects tests: `preemption`, `spreading`, `snapshot`, `company`, `ports`,
 * `starvationFree` (a large request gets its place though small ones of its priority come and go), `guarantee` (an owner
 * gets what is guaranteed though others come and go). Without `preemption`, that nobody is ever preempted for another is
 * tested.
 */
export function resourcesConformance<Config>(
  plugin: PluginDefinition<'resources', Config>,
  options: ResourcesConformanceOptions = {},
): void {
  describe(`resources conformance of ${plugin.name}`, () => {
    const made: Policy<unknown, ResourcesCommand>[] = [];
    // policies are made ahead, so that tests can be synchronous; each is stateless and serves any number of states
    beforeAll(async () => {
      for (let count = 0; count < 2; count++) made.push(await resourcesPolicy(plugin, options.config));
    });
    const policy = (index: number) => {
      const found = made[index];
      if (!found) throw new Error('the suite is not open');
      return found;
    };
    const suite: ResourcesSuite = {
      harness: () => new ResourcesHarness(policy(0), options.lending),
      policy: () => policy(1),
      supports: plugin.supports ?? {},
      seeds: options.seeds ?? [1, 2, 3, 4, 5],
      lends: options.lending !== undefined,
    };
    placementTests(suite);
    companyTests(suite);
    starvationTests(suite);
    nodeTests(suite);
    replayTests(suite);
  });
}
