import { readdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import guestSimulated from '@cloudos/guest-simulated';
import { bootKernel, type Kernel, parseStack } from '@cloudos/kernel';
import { givenPlugins } from '@cloudos/plugin-bus';
import { type AnyPlugin, type SlotName, slots, workloadSpec } from '@cloudos/sdk';
import { describe, expect, it, vi } from 'vitest';
import { sharedMemoryLog } from './support/simulated-stack.ts';

const folder = fileURLToPath(new URL('../../plugins', import.meta.url));

/** Every plugin of the repository. */
const plugins: readonly AnyPlugin[] = await allPlugins();
const layers = ['host', 'resources', 'orchestrator', 'guest'] as const;
type Combination = Readonly<Record<(typeof layers)[number], AnyPlugin>>;

async function allPlugins(): Promise<AnyPlugin[]> {
  const names = readdirSync(folder).filter((name) => Object.keys(slots).includes(name.split('-')[0] ?? ''));
  return Promise.all(
    names.sort().map(async (name) => ((await import(`@cloudos/${name}`)) as { default: AnyPlugin }).default),
  );
}

function combinations(): Combination[] {
  const of = (slot: SlotName) => plugins.filter((plugin) => plugin.slot === slot);
  return of('host').flatMap((host) =>
    of('resources').flatMap((resources) =>
      of('orchestrator').flatMap((orchestrator) =>
        of('guest').map((guest) => ({ host, resources, orchestrator, guest })),
      ),
    ),
  );
}

/** Why a combination is not run by this spec; undefined for one that is. */
function reasonAgainst({ host, guest }: Combination): string | undefined {
  if (guest.name === 'guest-simulated') return undefined;
  if (host.name === 'host-simulated') return 'a simulated node has no machine for real guests';
  return 'real guests of every runtime run side by side in guest-runtimes.int.spec.ts';
}

const titleOf = (combination: Combination) => layers.map((layer) => combination[layer].name).join(' × ');
const all = combinations();
const run = all.filter((combination) => reasonAgainst(combination) === undefined);

/** Configuration that lets a plugin run beside others of this process. */
function configOf(plugin: AnyPlugin, world: string): Record<string, unknown> {
  return plugin.name.endsWith('-simulated') ? { world } : {};
}

describe('any stack can be assembled', () => {
  it('the list has every plugin of each layer, and a reason for what is not run', () => {
    for (const layer of layers) {
      const named = new Set(all.map((combination) => combination[layer].name));
      const folders = readdirSync(folder).filter((name) => name.startsWith(`${layer}-`));
      expect([...named].sort()).toEqual(folders.sort());
    }
    expect(run.length).toBeGreaterThan(0);
    for (const combination of all) {
      if (!run.includes(combination)) expect(reasonAgainst(combination), titleOf(combination)).not.toBe('');
    }
  });

  it.each(run.map((combination) => [titleOf(combination), combination] as const))(
    '%s: boots, runs a workload to healthy, restarts from the log, tears down',
    async (title, combination) => {
      const { log, plugin } = sharedMemoryLog();
      const stateDir = await mkdtemp(join(tmpdir(), 'cloudos-any-'));
      const boot = () => bootOne(combination, title, plugin, stateDir);
      let kernel = await boot();
      try {
        await kernel.command({ slot: 'orchestrator', command: { type: 'Declare', spec: declared } });
        const before = await settled(kernel, 2);
        await kernel.stop();
        const head = log.head();
        kernel = await boot();
        expect(await settled(kernel, 2)).toEqual(before);
        expect(log.head()).toBeGreaterThan(head);
        await kernel.command({ slot: 'orchestrator', command: { type: 'Remove', name: 'sample' } });
        expect(await settled(kernel, 0)).toEqual([]);
      } finally {
        await kernel.stop();
        await rm(stateDir, { recursive: true, force: true });
      }
    },
    60_000,
  );
});

const declared = workloadSpec.parse({
  workload: 'default/sample',
  kind: 'Deployment',
  revision: 1,
  replicas: 2,
  strategy: { kind: 'recreate' },
  template: {
    image: 'host:',
    command: ['sleep'],
    runtime: guestSimulated.config.parse({}).runtime,
    requests: { cpuMillis: 10, memoryBytes: 2 ** 20 },
    limits: {},
  },
});

function bootOne(combination: Combination, world: string, logPlugin: AnyPlugin, stateDir: string): Promise<Kernel> {
  const { host, resources, orchestrator, guest } = combination;
  const stack = parseStack(
    JSON.stringify({
      apiVersion: 'cloudos/v1',
      kind: 'Stack',
      name: 'any',
      log: logPlugin.name,
      resources: resources.name,
      orchestrator: orchestrator.name,
      nodes: [
        {
          name: 'local',
          host: { plugin: host.name, config: configOf(host, world) },
          guests: [{ plugin: guest.name, config: configOf(guest, world) }],
        },
      ],
    }),
    'any.yaml',
  );
  return bootKernel({ stateDir, stack, plugins: givenPlugins([logPlugin, host, resources, orchestrator, guest]) });
}

/** Waits for that many ready instances and no other. Returns what must not change in a restart. */
async function settled(kernel: Kernel, count: number) {
  const instances = async () => (await kernel.view()).instances.filter(({ workload }) => workload === 'default/sample');
  await vi.waitFor(
    async () => expect((await instances()).map(({ state }) => state)).toEqual(Array(count).fill('ready')),
    { timeout: 30_000, interval: 25 },
  );
  return (await instances()).map(({ instance, node, pid, attempt }) => ({ instance, node, pid, attempt }));
}
