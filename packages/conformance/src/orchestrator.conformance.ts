import { type ErrorCode, event, type PluginDefinition, type RecordedEvent, workloadSpec } from '@cloudos/sdk';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  foreignWorkload,
  instancesIn,
  OrchestratorHarness,
  type OrchestratorPolicy,
  orchestratorPolicy,
} from './orchestrator/orchestrator-harness.ts';
import { OrchestratorHistory } from './orchestrator/orchestrator-history.ts';

/** Manifests in the orchestrator's own language. */
export interface OrchestratorManifests {
  /** Name under which the workload is declared: `<namespace>/<name>`. */
  readonly workload: string;
  /** Name of the service that selects its instances. */
  readonly service: string;
  /**
   * Declares the workload and the service: that many instances that are always restarted, with a readiness probe,
   * updated in a rolling way; another `version` is another template.
   */
  declare(of: { readonly replicas: number; readonly version: string }): string;
  /** Texts that must be refused, and the code of the refusal. */
  readonly refused: readonly { readonly text: string; readonly code: ErrorCode }[];
}

export interface OrchestratorConformanceOptions {
  readonly config?: unknown;
  readonly manifests: OrchestratorManifests;
  /** Seeds of the histories by chance (default 1 to 20), and how many steps each has (default 150). */
  readonly seeds?: readonly number[];
  readonly steps?: number;
}

/** The longest that a crashed guest may have to wait for its restart. */
const restartWithinMs = 600_000;

/**
 * What every `orchestrator` plugin promises. Call it once in a spec file. `supports.rollback: false` tests that
 * Rollback is refused instead.
 */
export function orchestratorConformance<Config>(
  plugin: PluginDefinition<'orchestrator', Config>,
  options: OrchestratorConformanceOptions,
): void {
  const { manifests } = options;
  const { workload, service } = manifests;
  const text = (replicas: number, version = '1') => manifests.declare({ replicas, version });

  describe(`orchestrator conformance of ${plugin.name}`, () => {
    let policy: OrchestratorPolicy;
    beforeAll(async () => {
      policy = await orchestratorPolicy(plugin, options.config);
    });

    const harness = () => new OrchestratorHarness(policy);
    const running = (replicas: number) => {
      const made = harness();
      made.must({ type: 'Apply', text: text(replicas) });
      made.converge();
      return made;
    };
    const expectSound = (made: OrchestratorHarness) => {
      expect(made.oracle.violations).toEqual([]);
      expect(made.unmet()).toEqual([]);
    };

    test('a declared workload gets its instances, each requested once', () => {
      const made = harness();
      const decided = made.must({ type: 'Apply', text: text(3) });
      expect(decided[0]?.type).toBe('WorkloadDeclared');
      expect(instancesIn(decided, 'InstanceRequested')).toHaveLength(3);
      expect(decided.filter((of) => of.type === 'ServiceDeclared')).toHaveLength(1);
      expect(made.settle()).toEqual([]);
      expectSound(made);
    });

    test('declaring the same again changes nothing', () => {
      const made = running(2);
      expect(made.must({ type: 'Apply', text: text(2) })).toEqual([]);
    });

    test('a manifest that is not sound is refused with its code, and nothing of it is taken', () => {
      for (const { text: refused, code } of manifests.refused) {
        const made = harness();
        expect(made.command({ type: 'Apply', text: refused }).refused?.code).toBe(code);
        expect(made.log).toEqual([]);
      }
    });

    test('a service has those instances that are ready', () => {
      const made = harness();
      const ids = instancesIn(made.must({ type: 'Apply', text: text(2) }), 'InstanceRequested');
      for (const instance of ids) {
        const address = { host: '10.0.0.1' };
        made.give(
          event('InstancePlaced', { instance, node: 'n0' }),
          event('GuestStarted', { instance, node: 'n0', runtime: 'zones', attempt: 1, address }),
        );
      }
      expect(made.oracle.services.get(service)).toEqual([]);
      const [instance = ''] = ids;
      made.give(event('GuestHealthy', { instance, node: 'n0', attempt: 1, probe: 'readiness' }));
      expect(made.oracle.services.get(service)).toMatchObject([{ instance, node: 'n0', host: '10.0.0.1' }]);
      made.give(event('GuestUnhealthy', { instance, node: 'n0', attempt: 1, probe: 'readiness', reason: 'no' }));
      expect(made.oracle.services.get(service)).toEqual([]);
    });

    test('scaling adds and withdraws as many as it takes', () => {
      const made = running(2);
      expect(instancesIn(made.must({ type: 'Scale', workload, replicas: 5 }), 'InstanceRequested')).toHaveLength(3);
      made.converge();
      expect(instancesIn(made.must({ type: 'Scale', workload, replicas: 1 }), 'InstanceWithdrawn')).toHaveLength(4);
      made.converge();
      expectSound(made);
      expect(made.must({ type: 'Scale', workload, replicas: 1 })).toEqual([]);
      made.must({ type: 'Scale', workload, replicas: 0 });
      made.converge();
      expectSound(made);
    });

    test('an update replaces every instance within its bounds, and says when it is complete', () => {
      const made = running(4);
      const before = made.oracle.of(workload).map(({ id }) => id);
      made.must({ type: 'Apply', text: text(4, '2') });
      made.converge();
      expectSound(made);
      expect(made.oracle.of(workload).filter(({ id }) => before.includes(id))).toEqual([]);
      const told = made.log.filter((of) => of.type === 'RolloutAdvanced').at(-1)?.data;
      expect(told).toMatchObject({ workload, revision: 2, phase: 'complete', updated: 4, wanted: 4 });
    });

    test('an update that does not come up leaves the old instances serving', () => {
      const made = running(3);
      const decided = made.must({ type: 'Apply', text: text(3, '2') });
      for (let round = 0; round < 5; round++) made.passTo(made.now + 60_000);
      expect(made.oracle.of(workload).filter((one) => one.ready).length).toBeGreaterThanOrEqual(
        3 - bound(decided, 'maxUnavailable'),
      );
      expect(made.oracle.violations).toEqual([]);
    });

    const rollsBack = plugin.supports?.rollback !== false;
    test(rollsBack ? 'a rollback brings the former template back' : 'a rollback is refused', () => {
      if (!rollsBack) {
        expect(running(1).command({ type: 'Rollback', workload }).refused?.code).toBe('COMMAND_REFUSED');
        return;
      }
      const made = running(2);
      const former = made.oracle.workloads.get(workload)?.template;
      made.must({ type: 'Apply', text: text(2, '2') });
      made.converge();
      made.must({ type: 'Rollback', workload });
      made.converge();
      expect(made.oracle.workloads.get(workload)).toMatchObject({ revision: 3, template: former });
      expectSound(made);
      expect(made.command({ type: 'Rollback', workload, revision: 77 }).refused?.code).toBe('REVISION_NOT_FOUND');
    });

    test('a restart replaces every instance', () => {
      const made = running(2);
      const before = made.oracle.of(workload).map(({ id }) => id);
      made.must({ type: 'Restart', workload });
      made.converge();
      expectSound(made);
      expect(made.oracle.of(workload).some(({ id }) => before.includes(id))).toBe(false);
    });

    test('a lost instance is replaced: preempted, removed, or gone with its node', () => {
      for (const kind of ['preempted', 'removed', 'node lost', 'node left']) {
        const made = running(3);
        const [one] = made.oracle.of(workload);
        const [instance, node] = [one?.id ?? '', one?.node ?? ''];
        const gone = made.oracle.of(workload).filter((other) => kind.startsWith('node') && other.node === node);
        const decided =
          kind === 'preempted'
            ? made.give(event('InstancePreempted', { instance, node, reason: 'drain', graceMs: 0 }))
            : kind === 'removed'
              ? made.give(event('GuestRemoved', { instance, node }))
              : made.give(event(kind === 'node lost' ? 'NodeLost' : 'NodeLeft', { node, reason: 'gone' }));
        expect(instancesIn(decided, 'InstanceRequested'), kind).toHaveLength(Math.max(1, gone.length));
        made.converge();
        expectSound(made);
      }
    });

    test('a crashed guest is restarted, each time later, and never while it runs', () => {
      const made = running(1);
      const [one] = made.oracle.of(workload);
      const [instance, node] = [one?.id ?? '', one?.node ?? ''];
      const waits: number[] = [];
      for (let attempt = 1; attempt <= 5; attempt++) {
        const crashedAt = made.now;
        made.give(event('GuestExited', { instance, node, attempt, exitCode: 1, signal: null, reason: 'exited' }));
        made.passTo(crashedAt + restartWithinMs);
        const ordered = made.log.filter((of) => of.type === 'InstanceRestartOrdered').at(-1);
        expect(ordered?.data).toMatchObject({ instance, attempt: attempt + 1 });
        waits.push((ordered?.time ?? Number.NaN) - crashedAt);
        made.give(event('GuestStarted', { instance, node, runtime: 'zones', attempt: attempt + 1 }));
      }
      expect(waits).toEqual([...waits].sort((a, b) => a - b));
      expect(waits.at(-1)).toBeGreaterThan(waits[0] ?? 0);
      expect(made.oracle.violations).toEqual([]);
    });

    test('removal withdraws everything, whatever state it is in', () => {
      const commands = [
        { type: 'Remove', name: workload, kind: undefined },
        { type: 'RemoveAll' },
        { type: 'RemoveManifest', text: text(3) },
      ] as const;
      for (const command of commands) {
        const made = running(3);
        made.must({ type: 'Scale', workload, replicas: 5 });
        const kind = (made.oracle.workloads.get(workload)?.kind ?? '').toString();
        made.must(command.type === 'Remove' ? { type: 'Remove', name: workload, kind } : command);
        expect(made.oracle.of(workload)).toEqual([]);
        made.converge();
        expectSound(made);
        expect(made.oracle.workloads.size).toBe(0);
      }
    });

    test('an unknown workload is refused by name', () => {
      const { refused } = running(1).command({ type: 'Scale', workload: 'none/such', replicas: 1 });
      expect(refused).toMatchObject({ code: 'WORKLOAD_NOT_FOUND', message: expect.stringContaining('none/such') });
    });

    test('private and unknown events are passed over', () => {
      const made = running(1);
      expect(made.give({ type: 'x-other-Hint', data: { instance: 'x' } })).toEqual([]);
    });

    test('what another orchestrator declared is taken over as it stands', () => {
      const made = harness();
      const spec = foreignWorkload('other/app', 3);
      const requests = { workload: 'other/app', revision: 1, requests: spec.template.requests, priority: 100 };
      const decided = made.give(
        event('WorkloadDeclared', spec),
        event('InstanceRequested', { instance: 'app.a', ...requests }),
        event('InstanceRequested', { instance: 'app.b', ...requests }),
        event('InstancePlaced', { instance: 'app.a', node: 'n0' }),
        event('GuestStarted', { instance: 'app.a', node: 'n0', runtime: 'zones', attempt: 1 }),
      );
      expect(instancesIn(decided, 'InstanceRequested')).toHaveLength(1);
      expect(instancesIn(decided, 'InstanceWithdrawn')).toEqual([]);
      made.converge();
      expectSound(made);
      expect(
        instancesIn(made.give(event('NodeLost', { node: 'n0', reason: 'gone' })), 'InstanceRequested'),
      ).not.toEqual([]);
      made.must({ type: 'Scale', workload: 'other/app', replicas: 1 });
      made.converge();
      expectSound(made);
    });

    test('a task of a scheduler outside of the stack runs once: it is declared in the shared terms, and not replaced', () => {
      const made = harness();
      const foreign = foreignWorkload('task/one', 1);
      const { readiness: _, ...template } = foreign.template;
      const task = { ...foreign, kind: 'Task', once: true, template: { ...template, restart: 'never' } };
      const spec = workloadSpec.parse(task); // as the kernel hands it over
      const decided = made.must({ type: 'Declare', spec });
      const [instance = '', ...more] = instancesIn(decided, 'InstanceRequested');
      expect(more).toEqual([]);
      expect(made.must({ type: 'Declare', spec })).toEqual([]);
      const other = made.command({ type: 'Declare', spec: { ...spec, priority: 7 } });
      expect(other.refused?.code).toBe('COMMAND_REFUSED');
      made.give(
        event('InstancePlaced', { instance, node: 'n0' }),
        event('GuestStarted', { instance, node: 'n0', runtime: 'zones', attempt: 1 }),
      );
      const after = made.give(event('NodeLost', { node: 'n0', reason: 'gone' }));
      expect(instancesIn([...after, ...made.settle()], 'InstanceRequested')).toEqual([]);
      expect(made.must({ type: 'Remove', name: 'task/one' }).map(({ type }) => type)).toContain('WorkloadRemoved');
    });

    const seeds = options.seeds ?? Array.from({ length: 20 }, (_, index) => index + 1);
    test.each([...seeds])('history by chance, seed %i: bounds hold, restarts repeat nothing, all ends well', (seed) => {
      const made = harness();
      made.must({ type: 'Apply', text: text(4, '0') });
      const history = new OrchestratorHistory(made, manifests, seed);
      const steps = options.steps ?? 150;
      for (let step = 0; step < steps; step++) {
        history.step();
        expect(made.oracle.violations, `seed ${seed}, step ${step}`).toEqual([]);
        if (step % 25 === 24) expectRestart(policy, made, `seed ${seed}, step ${step}`);
      }
      made.converge();
      expect(made.unmet(), `seed ${seed}`).toEqual([]);
      expect(made.oracle.violations, `seed ${seed}`).toEqual([]);
    });
  });
}

/** A policy that reads the log, or a snapshot and the rest, decides nothing again; the run goes on with that state. */
function expectRestart(policy: OrchestratorPolicy, made: OrchestratorHarness, where: string): void {
  const state = made.replay(policy);
  expect(policy.react(state, [], made.now).events, `${where}: replayed`).toEqual([]);
  if (policy.snapshot) {
    const cut = Math.floor(made.log.length / 2);
    const saved = structuredClone(policy.snapshot.save(made.replay(policy, policy.initial(), 0, cut)));
    const loaded = made.replay(policy, policy.snapshot.load(saved), cut);
    expect(policy.react(loaded, [], made.now).events, `${where}: from a snapshot`).toEqual([]);
    expect(policy.snapshot.save(loaded), `${where}: from a snapshot`).toEqual(policy.snapshot.save(state));
  }
  made.state = state;
  made.settle();
}

function bound(decided: readonly RecordedEvent[], key: 'maxSurge' | 'maxUnavailable'): number {
  const spec = decided.find((of) => of.type === 'WorkloadChanged')?.data as { strategy: Record<string, number> };
  return spec.strategy[key] ?? 0;
}
