import { event } from '@cloudos/sdk';
import type { OrchestratorManifests } from '../orchestrator.conformance.ts';
import { seededNumbers } from '../seeded-numbers.ts';
import type { OrchestratorHarness } from './orchestrator-harness.ts';
import type { KnownInstance } from './orchestrator-oracle.ts';

/** A history by chance: the nodes work in any order, guests fail, nodes are lost, and somebody keeps changing plans. */
export class OrchestratorHistory {
  readonly #harness: OrchestratorHarness;
  readonly #manifests: OrchestratorManifests;
  readonly #random: (below: number) => number;

  constructor(harness: OrchestratorHarness, manifests: OrchestratorManifests, seed: number) {
    this.#harness = harness;
    this.#manifests = manifests;
    this.#random = seededNumbers(seed);
  }

  /** One thing happens. */
  step(): void {
    const dice = this.#random(100);
    if (dice < 70) this.#work();
    else if (dice < 80) this.#fail();
    else if (dice < 83) this.#lose();
    else if (dice < 90) this.#command();
    else this.#harness.passTo(this.#harness.now + this.#random(20_000));
  }

  #pick(of: (one: KnownInstance) => boolean): KnownInstance | undefined {
    const some = [...this.#harness.oracle.instances.values()].filter(of);
    return some[this.#random(Math.max(1, some.length))];
  }

  #work(): void {
    const one = this.#pick(() => true);
    const next = one && this.#harness.advance(one);
    if (next) this.#harness.give(next);
  }

  #fail(): void {
    const one = this.#pick(({ running, stopping }) => running && !stopping);
    if (one?.node === undefined) return;
    const about = { instance: one.id, node: one.node, attempt: one.attempt };
    if (this.#random(2) === 0) {
      this.#harness.give(event('GuestUnhealthy', { ...about, probe: 'readiness', reason: 'refused' }));
    } else {
      this.#harness.give(event('GuestExited', { ...about, exitCode: 1, signal: null, reason: 'exited' }));
    }
  }

  #lose(): void {
    const one = this.#pick(({ node, stopping }) => node !== undefined && !stopping);
    if (one?.node === undefined) return;
    if (this.#random(3) === 0) this.#harness.give(event('NodeLost', { node: one.node, reason: 'silent' }));
    else {
      const { id: instance, node } = one;
      this.#harness.give(event('InstancePreempted', { instance, node, reason: 'drain', graceMs: 0 }));
    }
  }

  #command(): void {
    const { workload, declare } = this.#manifests;
    const dice = this.#random(10);
    const replicas = 1 + this.#random(8);
    if (dice < 4) this.#harness.must({ type: 'Scale', workload, replicas });
    else if (dice < 9) {
      this.#harness.must({ type: 'Apply', text: declare({ replicas, version: String(this.#random(4)) }) });
    } else {
      this.#harness.must({ type: 'RemoveAll' });
      this.#harness.must({ type: 'Apply', text: declare({ replicas, version: '0' }) });
    }
  }
}
