import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { guestPlugins } from './support/counter-guests.ts';
import { KernelProcess } from './support/kernel-process.ts';

interface Check {
  readonly name: string;
  readonly status: string;
  readonly found: string;
  readonly remedy?: string;
}

interface Report {
  readonly nodes: readonly { readonly node: string; readonly checks: readonly Check[] }[];
  readonly unused: readonly { readonly plugin: string; readonly checks: readonly Check[] }[];
}

/** The doctor names every guest plugin of the checkout, also for a stack that uses none of them. */
describe('the doctor', () => {
  const kernel = new KernelProcess({
    ...{ name: 'examined', log: 'log-memory', resources: 'resources-spread', orchestrator: 'orchestrator-kubernetes' },
    nodes: [{ name: 'n', host: 'host-simulated', guests: ['guest-simulated'] }],
  });
  beforeAll(() => kernel.start(), 120_000);
  afterAll(() => kernel.dispose(), 60_000);

  it('says of each whether it could run here, and how to get it', async () => {
    const { code, stdout } = await kernel.run('doctor', '-o', 'json');
    const { nodes, unused } = JSON.parse(stdout) as Report;
    expect(nodes).toMatchObject([{ node: 'n', checks: [{ name: 'host' }, { name: 'runtime simulated' }] }]);
    expect(unused.map(({ plugin }) => plugin)).toEqual(guestPlugins().map((runtime) => `guest-${runtime}`));
    for (const { plugin, checks } of unused) {
      expect([plugin, checks[0]?.name]).toEqual([plugin, `runtime ${plugin.slice('guest-'.length)}`]);
      for (const check of checks) {
        expect(check.found).not.toBe('');
        if (check.status !== 'ok') expect([plugin, check.remedy ?? '']).toEqual([plugin, expect.stringMatching(/\S/)]);
      }
    }
    // What the stack does not use is not missed by it.
    expect(code).toBe(0);
  }, 120_000);

  it('leaves them out where they are not asked for', async () => {
    const { stdout } = await kernel.run('doctor', '--stack-only', '-o', 'json');
    expect((JSON.parse(stdout) as Report).unused).toEqual([]);
  }, 60_000);
});
