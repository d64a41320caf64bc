import type { OrchestratorCommand } from '@cloudos/sdk';
import {
  at,
  guestExited,
  guestFailed,
  guestRemoved,
  guestStarted,
  guestUnhealthy,
  instancePlaced,
  instanceRestartOrdered,
  instanceWithdrawn,
  nodeLost,
  type PolicySpec,
  policySpec,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { kubernetesPolicy } from './kubernetes.policy.ts';
import { backoffMs } from './lifecycle.ts';
import type { State } from './state.ts';

type Spec = PolicySpec<State, OrchestratorCommand>;

function pod(restartPolicy: string): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'once', labels: { app: 'once' } },
    spec: { restartPolicy, containers: [{ name: 'c', image: 'host:' }] },
  });
}

const behind = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'once' },
  spec: { selector: { app: 'once' }, ports: [{ port: 80 }] },
});

/** Applies the objects and brings the one pod up on n1. */
function running(...objects: string[]): { of: Spec; id: string } {
  const of = policySpec(kubernetesPolicy()).when({ type: 'Apply', text: objects.join('\n---\n') });
  of.when(instancePlaced('once', 'n1'), guestStarted('once', 'n1'));
  return { of, id: 'once' };
}

function types(of: Spec): string[] {
  return of.decided.map((event) => event.type);
}

describe('restarts', () => {
  it('follow exits at once, then after 10 s, 20 s, up to 5 minutes, and begin anew after a long run', () => {
    const { of, id } = running(pod('Always'));
    const waits: number[] = [];
    let now = 0;
    for (let attempt = 1; attempt <= 8; attempt++) {
      of.when(guestExited(id, 'n1', { attempt }));
      const due = types(of).includes('InstanceRestartOrdered') ? now : (of.wakeAt ?? 0);
      waits.push(due - now);
      if (due > now) of.when(at(due)).then(instanceRestartOrdered(id, { attempt: attempt + 1 }));
      now = due;
      of.when(guestStarted(id, 'n1', { attempt: attempt + 1 }));
    }
    expect(waits).toEqual([0, 10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000]);
    of.when(at(now + 600_000), guestExited(id, 'n1', { attempt: 9 }));
    expect(types(of)).toContain('InstanceRestartOrdered');
    of.verifyReplay();
  });

  it('follow what could not be created or started, and a failed liveness probe', () => {
    const { of, id } = running(pod('Always'), behind);
    of.when(guestUnhealthy(id, 'n1', { probe: 'liveness', reason: 'hangs' }));
    of.thenIncludes(instanceRestartOrdered(id, { attempt: 2, reason: 'liveness probe: hangs' }));
    expect(types(of)[0]).toBe('ServiceEndpointsChanged');
    of.when(guestExited(id, 'n1', { attempt: 1, reason: 'stopped' })).thenNothing();
    of.when(guestFailed(id, 'n1', { attempt: 2, stage: 'start' })).thenNothing();
    of.when(at(10_000)).then(instanceRestartOrdered(id, { attempt: 3 }));
    of.when(guestFailed(id, 'n1', { attempt: 3, stage: 'stop' })).thenNothing();
    of.verifyReplay();
  });

  it('do not follow a pod that has completed; a failed one is restarted on failure only', () => {
    for (const [policy, exitCode, restarted] of [
      ['Never', 1, false],
      ['Never', 0, false],
      ['OnFailure', 0, false],
      ['OnFailure', 3, true],
      ['Always', 0, true],
    ] as const) {
      const { of } = running(pod(policy));
      of.when(guestExited('once', 'n1', { exitCode }));
      expect(types(of).includes('InstanceRestartOrdered')).toBe(restarted);
      of.when(at(1_000_000));
      expect(types(of)).not.toContain('InstanceRequested');
      of.when(nodeLost('n1'));
      expect(types(of).includes('InstanceRequested')).toBe(restarted);
      of.verifyReplay();
    }
  });

  it('stop a pod for good that is not to be restarted and fails its liveness probe', () => {
    const { of } = running(pod('Never'));
    of.when(guestUnhealthy('once', 'n1', { probe: 'liveness' })).thenIncludes(instanceWithdrawn('once'));
    expect(types(of)).not.toContain('InstanceRequested');
    of.when(guestRemoved('once'));
    expect(types(of)).not.toContain('InstanceRequested');
    of.verifyReplay();
  });

  it('wait for a bounded time, however often', () => {
    const backoff = { initial: 10, max: 300, resetAfter: 600 };
    expect([0, 1, 2, 5, 6, 1e9].map((crashes) => backoffMs(crashes, backoff))).toEqual([0, 10, 20, 160, 300, 300]);
  });

  it('are not ordered for what was withdrawn while it waited', () => {
    const { of, id } = running(pod('Always'));
    of.when(guestExited(id)).when(guestStarted(id, 'n1', { attempt: 2 }));
    of.when(guestExited(id, 'n1', { attempt: 2 })).thenWakeAt(10_000);
    of.when({ type: 'RemoveAll' });
    of.when(at(60_000)).thenNothing().thenWakeAt(undefined);
  });
});
