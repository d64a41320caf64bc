import type { OrchestratorCommand } from '@cloudos/sdk';
import {
  at,
  guestExited,
  guestHealthy,
  guestRemoved,
  guestStarted,
  guestUnhealthy,
  instancePlaced,
  instancePreempted,
  instanceWithdrawn,
  nodeLost,
  type PolicySpec,
  policySpec,
  rolloutAdvanced,
  workloadRemoved,
} from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { kubernetesPolicy } from './kubernetes.policy.ts';
import type { KubernetesOptions } from './options.ts';
import type { State } from './state.ts';

type Spec = PolicySpec<State, OrchestratorCommand>;

const probe = { httpGet: { port: 8080 } };

/** A deployment `web` and, with `service`, a service before it. JSON is YAML. */
function manifest(
  changes: { replicas?: number; value?: string; service?: boolean; pod?: object; spec?: object } = {},
): string {
  const { replicas = 3, value = '1', service = false, pod = {}, spec = {} } = changes;
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: {
      replicas,
      selector: { matchLabels: { app: 'web' } },
      strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: {
          containers: [
            {
              name: 'web',
              image: 'host:',
              env: [{ name: 'V', value }],
              ports: [{ name: 'http', containerPort: 8080 }],
              ...pod,
            },
          ],
        },
      },
      ...spec,
    },
  };
  const behind = {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 'web' },
    spec: { selector: { app: 'web' }, ports: [{ port: 80, targetPort: 'http' }] },
  };
  return [deployment, ...(service ? [behind] : [])].map((object) => JSON.stringify(object)).join('\n---\n');
}

function pod(restartPolicy: string, changes: object = {}): string {
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'once', labels: { app: 'once' } },
    spec: { restartPolicy, containers: [{ name: 'c', image: 'host:', ...changes }] },
  });
}

const apply = (text: string): OrchestratorCommand => ({ type: 'Apply', text });

function spec(options: Partial<KubernetesOptions> = {}): Spec {
  return policySpec(kubernetesPolicy(options));
}

function types(of: Spec): string[] {
  return of.decided.map((event) => event.type);
}

function named(of: Spec, type: string): string[] {
  return of.decided
    .filter((event) => event.type === type)
    .map((event) => (event.data as { instance: string }).instance);
}

/** Applies and brings every instance up on n1. */
function running(text: string, options: Partial<KubernetesOptions> = {}): { of: Spec; ids: string[] } {
  const of = spec(options).when(apply(text));
  const ids = named(of, 'InstanceRequested');
  for (const id of ids) of.when(instancePlaced(id, 'n1'), guestStarted(id, 'n1'), guestHealthy(id, 'n1'));
  return { of, ids };
}

describe('apply', () => {
  it('declares the workload and requests its instances', () => {
    const of = spec().when(apply(manifest({ replicas: 2 })));
    expect(types(of)).toEqual(['WorkloadDeclared', 'RolloutAdvanced', 'InstanceRequested', 'InstanceRequested']);
    expect(named(of, 'InstanceRequested').every((id) => /^web-[0-9a-z]{10}-[01]$/.test(id))).toBe(true);
    of.verifyReplay();
  });

  it('requests with owner, tags, company and image; labels are tags, the namespace is the owner', () => {
    const asked = (text: string) =>
      spec()
        .when(apply(text))
        .decided.findLast((event) => event.type === 'InstanceRequested')?.data;
    expect(asked(manifest())).toMatchObject({ tags: ['default/app=web'] });
    expect(asked(manifest())).not.toHaveProperty('owner');
    expect(asked(manifest())).not.toHaveProperty('image');
    const [near] = [{ topologyKey: 'zone', maxSkew: 1, labelSelector: { matchLabels: { app: 'once' } } }];
    const own = JSON.parse(pod('Never', { image: 'web:1', ports: [{ containerPort: 80, hostPort: 81 }] }));
    own.metadata.namespace = 'shop';
    own.spec.topologySpreadConstraints = [near];
    expect(asked(JSON.stringify(own))).toMatchObject({
      owner: 'shop',
      image: 'web:1',
      hostPorts: [81],
      tags: ['shop/app=once'],
      placement: [{ scope: 'zone', tags: ['shop/app=once'], maxSkew: 1, required: true }],
    });
    own.metadata.annotations = { 'cloudos.io/owner': 'eng/search' };
    expect(asked(JSON.stringify(own))).toMatchObject({ owner: 'eng/search' });
  });

  it('of the same manifest changes nothing; of another number only scales', () => {
    const { of, ids } = running(manifest());
    of.when(apply(manifest())).thenNothing();
    of.when(apply(manifest({ replicas: 4 })));
    expect(types(of)).toEqual(['WorkloadChanged', 'InstanceRequested']);
    expect(ids).not.toContain(named(of, 'InstanceRequested')[0]);
    of.when({ type: 'Scale', workload: 'deploy/web', replicas: 2 });
    expect(types(of)).toEqual(['WorkloadChanged', 'InstanceWithdrawn', 'InstanceWithdrawn']);
    of.when({ type: 'Scale', workload: 'web', replicas: 2 }).thenNothing();
    of.when(apply(manifest({ spec: { replicas: undefined } })));
    expect(of.log.findLast((event) => event.type === 'WorkloadChanged')?.data).toMatchObject({ replicas: 1 });
    of.when({ type: 'Scale', workload: 'web', replicas: 5 }, apply(manifest({ spec: { replicas: undefined } })));
    expect(of.decided.filter((event) => event.type === 'WorkloadChanged')).toHaveLength(1);
    of.verifyReplay();
  });

  it('refuses another selector, another kind behind the name, and changes of a pod', () => {
    const { of } = running(manifest());
    const labels = { matchLabels: { app: 'web', tier: 'x' } };
    const template = {
      metadata: { labels: { app: 'web', tier: 'x' } },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    };
    of.when(apply(manifest({ spec: { selector: labels, template } }))).thenRefused('MANIFEST_INVALID', 'is immutable');
    const replicaSet = manifest()
      .replace('"Deployment"', '"ReplicaSet"')
      .replace(/"strategy":\{.*?\}\},/, '');
    of.when(apply(replicaSet)).thenRefused('MANIFEST_INVALID', 'belongs to a Deployment');
    of.when(apply(pod('Never')), apply(pod('Never', { args: ['x'] }))).thenRefused('MANIFEST_INVALID', 'the image');
  });

  it('is all or nothing', () => {
    const of = spec().when(apply(`${manifest()}\n---\n{apiVersion: v1, kind: Secret}`));
    of.thenRefused('MANIFEST_KIND_UNKNOWN');
    expect(of.log).toEqual([]);
  });
});

describe('names', () => {
  it('may be short, and are refused with what they may be', () => {
    const { of } = running(manifest({ service: true }));
    for (const workload of ['web', 'default/web', 'deployment/web', 'deploy/default/web', 'deployments.apps/web']) {
      of.when({ type: 'Scale', workload, replicas: 3 }).thenNothing();
    }
    of.when({ type: 'Scale', workload: 'wep', replicas: 1 }).thenRefused(
      'WORKLOAD_NOT_FOUND',
      'did you mean default/web?',
    );
    of.when({ type: 'Scale', workload: 'other/web', replicas: 1 }).thenRefused('WORKLOAD_NOT_FOUND');
    of.when({ type: 'Scale', workload: 'rs/web', replicas: 1 }).thenRefused('WORKLOAD_NOT_FOUND');
    of.when({ type: 'Remove', name: 'web' }).thenRefused(
      'COMMAND_REFUSED',
      'deployment/default/web, service/default/web',
    );
    of.when({ type: 'Remove', name: 'svc/web' }).then({ type: 'ServiceRemoved', data: { service: 'default/web' } });
    of.when({ type: 'Remove', kind: 'deployment', name: 'web' });
    expect(types(of)).toEqual(['WorkloadRemoved', ...Array(3).fill('InstanceWithdrawn')]);
  });
});

describe('a service', () => {
  it('has those endpoints that are ready, at the ports of their hosts', () => {
    const of = spec().when(apply(manifest({ replicas: 1, service: true, pod: { readinessProbe: probe } })));
    const [id = ''] = named(of, 'InstanceRequested');
    const address = { host: '127.0.0.1', ports: { '8080': 40_001 } };
    of.when(instancePlaced(id, 'n1'), guestStarted(id, 'n1', { address })).thenNothing();
    const endpoints = [{ instance: id, node: 'n1', host: '127.0.0.1', ports: { http: 40_001 } }];
    of.when(guestHealthy(id)).thenIncludes({
      type: 'ServiceEndpointsChanged',
      data: { service: 'default/web', endpoints },
    });
    of.when(guestHealthy(id)).thenNothing();
    of.when(guestUnhealthy(id)).thenIncludes({ type: 'ServiceEndpointsChanged', data: { endpoints: [] } });
    of.verifyReplay();
  });

  it('loses an instance that its runtime holds, also without a probe, and leaves the instance running', () => {
    const { of, ids } = running(manifest({ replicas: 1, service: true }));
    const [id = ''] = ids;
    of.when(guestUnhealthy(id, 'n1', { code: 'DISK_FULL', reason: 'no space' }));
    expect(of.decided).toMatchObject([{ type: 'ServiceEndpointsChanged', data: { endpoints: [] } }]);
    of.when(guestHealthy(id)).thenIncludes({
      type: 'ServiceEndpointsChanged',
      data: { endpoints: [{ instance: id }] },
    });
    of.verifyReplay();
  });

  it('loses an instance before the instance is withdrawn, with time to drain', () => {
    const { of } = running(manifest({ service: true }));
    of.when({ type: 'Scale', workload: 'web', replicas: 2 });
    expect(types(of)).toEqual(['WorkloadChanged', 'ServiceEndpointsChanged', 'InstanceWithdrawn']);
    expect(of.decided[1]?.data).toMatchObject({ endpoints: { length: 2 } });
    expect(of.decided[2]?.data).toMatchObject({ drainMs: 500, graceMs: 30_000 });
  });

  it('of many waits before it publishes more of them, and never before it takes one away', () => {
    const text = manifest({ replicas: 300, service: true });
    const { of, ids } = running(text);
    const published = () => of.decided.filter((event) => event.type === 'ServiceEndpointsChanged');
    of.when(at(10_000)).when({ type: 'Scale', workload: 'web', replicas: 301 });
    const [added = ''] = named(of, 'InstanceRequested');
    of.when(guestExited(ids[0] ?? ''));
    expect(published()).toHaveLength(1);
    of.when(guestStarted(added));
    expect(published()).toHaveLength(0);
    of.when(at(10_300));
    expect(published()[0]?.data).toMatchObject({ endpoints: { length: 300 } });
  });
});

describe('a rolling update', () => {
  it('replaces one by one, and is complete', () => {
    const { of } = running(manifest());
    of.when(apply(manifest({ value: '2' })));
    expect(types(of)).toEqual(['WorkloadChanged', 'RolloutAdvanced', 'InstanceRequested']);
    const seen: string[] = [];
    for (let step = 0; step < 3; step++) {
      const [id = ''] = named(of, 'InstanceRequested');
      of.when(instancePlaced(id, 'n1'), guestStarted(id));
      seen.push(...types(of).filter((type) => type !== 'RolloutAdvanced'));
    }
    expect(seen).toEqual([
      ...['InstanceWithdrawn', 'InstanceRequested', 'InstanceWithdrawn', 'InstanceRequested', 'InstanceWithdrawn'],
    ]);
    of.thenIncludes(
      rolloutAdvanced('default/web', { revision: 2, phase: 'complete', updated: 3, ready: 3, wanted: 3 }),
    );
    of.verifyReplay();
  });

  it('stands still when the new revision does not come up, says so, and goes back', () => {
    const { of, ids } = running(manifest({ spec: { progressDeadlineSeconds: 60 } }));
    of.when(apply(manifest({ value: '2', spec: { progressDeadlineSeconds: 60 } })));
    const [bad = ''] = named(of, 'InstanceRequested');
    of.when(guestStarted(bad), guestExited(bad));
    expect(named(of, 'InstanceWithdrawn')).toEqual([]);
    of.when(at(120_000)).thenIncludes(
      rolloutAdvanced('default/web', { phase: 'stalled', updated: 1, ready: 3, wanted: 3 }),
    );
    of.when(guestRemoved(ids[0] ?? ''));
    expect(of.decided.find((event) => event.type === 'InstanceRequested')?.data).toMatchObject({ revision: 1 });
    of.when({ type: 'Rollback', workload: 'web' });
    expect(of.decided[0]?.data).toMatchObject({ revision: 3, template: { env: [{ value: '1' }] } });
    of.when({ type: 'Rollback', workload: 'web', revision: 9 }).thenRefused('REVISION_NOT_FOUND', 'there are 1, 2, 3');
    of.verifyReplay();
  });

  it('waits until new instances have been ready for long enough', () => {
    const text = (value: string) => manifest({ replicas: 1, value, spec: { minReadySeconds: 5 } });
    const { of } = running(text('1'));
    of.when(at(6_000), apply(text('2')));
    const [id = ''] = named(of, 'InstanceRequested');
    of.when(guestStarted(id)).thenWakeAt(11_000);
    expect(types(of)).not.toContain('InstanceWithdrawn');
    of.when(at(11_000));
    expect(types(of)).toContain('InstanceWithdrawn');
    of.verifyReplay();
  });

  it('of kind Recreate starts nothing before the last of the old is gone', () => {
    const text = (value: string) => manifest({ replicas: 2, value, spec: { strategy: { type: 'Recreate' } } });
    const { of, ids } = running(text('1'));
    of.when(apply(text('2')));
    expect(types(of)).toEqual(['WorkloadChanged', 'RolloutAdvanced', 'InstanceWithdrawn', 'InstanceWithdrawn']);
    of.when(guestRemoved(ids[0] ?? '')).thenNothing();
    of.when(guestRemoved(ids[1] ?? ''));
    expect(types(of)).toEqual(['RolloutAdvanced', 'InstanceRequested', 'InstanceRequested']);
    of.verifyReplay();
  });

  it('does nothing while it is paused, and replaces what is lost by its own kind', () => {
    const { of, ids } = running(manifest());
    of.when(apply(manifest({ value: '2', spec: { paused: true } })));
    expect(types(of)).toEqual(['WorkloadChanged', 'RolloutAdvanced']);
    of.when(instancePreempted(ids[0] ?? '', { node: 'n1' }));
    expect(of.decided.map((event) => event.data)).toMatchObject([{ revision: 1 }]);
    of.when({ type: 'Restart', workload: 'web' }).thenRefused('COMMAND_REFUSED', 'paused');
    of.when(apply(manifest({ value: '2' })));
    expect(types(of)).toContain('InstanceRequested');
  });

  it('follows Restart with the same template', () => {
    const { of } = running(manifest({ replicas: 1 }));
    of.when({ type: 'Restart', workload: 'web' });
    const [id = ''] = named(of, 'InstanceRequested');
    of.when(guestStarted(id));
    expect(named(of, 'InstanceWithdrawn')).toHaveLength(1);
    of.when(apply(manifest({ replicas: 1 }))).thenNothing();
  });
});

describe('loss', () => {
  it('of a node withdraws what it ran and requests others', () => {
    const { of, ids } = running(manifest({ service: true }));
    of.when(nodeLost('n1'));
    expect(types(of).filter((type) => type !== 'RolloutAdvanced')).toEqual([
      'ServiceEndpointsChanged',
      ...Array(3).fill('InstanceWithdrawn'),
      ...Array(3).fill('InstanceRequested'),
    ]);
    expect(named(of, 'InstanceRequested').some((id) => ids.includes(id))).toBe(false);
    of.verifyReplay();
  });

  it('of a bare pod is made up for under another name, and a name is never used twice', () => {
    const { of } = running(pod('Always'));
    of.when(instancePreempted('once', { node: 'n1' }));
    expect(named(of, 'InstanceRequested')).toEqual(['once-1']);
    of.when({ type: 'Remove', name: 'pod/once' }).then(workloadRemoved('default/once'), instanceWithdrawn('once-1'));
    of.when(apply(pod('Always')));
    expect(named(of, 'InstanceRequested')).toEqual(['once-2']);
    of.verifyReplay();
  });

  it('by removal withdraws everything, also when the name is declared again at once', () => {
    const { of, ids } = running(manifest());
    of.when({ type: 'RemoveAll' }, apply(manifest()));
    expect(named(of, 'InstanceWithdrawn').sort()).toEqual([...ids].sort());
    expect(named(of, 'InstanceRequested')).toHaveLength(3);
    expect(named(of, 'InstanceRequested').some((id) => ids.includes(id))).toBe(false);
    of.when({ type: 'RemoveManifest', text: manifest() });
    expect(named(of, 'InstanceWithdrawn')).toHaveLength(3);
    of.when({ type: 'RemoveManifest', text: manifest() }).thenWarned(/does not exist/);
    of.verifyReplay();
  });
});

describe('a replica set', () => {
  it('keeps the number and leaves running pods as they are', () => {
    const text = (value: string, replicas: number) =>
      manifest({ value, replicas, spec: { strategy: undefined } }).replace('"Deployment"', '"ReplicaSet"');
    const { of } = running(text('1', 2));
    of.when(apply(text('2', 2)));
    expect(types(of)).not.toContain('InstanceRequested');
    of.when(apply(text('2', 3)));
    expect(of.decided.find((event) => event.type === 'InstanceRequested')?.data).toMatchObject({ revision: 2 });
    of.when({ type: 'Rollback', workload: 'web' }).thenRefused('COMMAND_REFUSED');
    of.verifyReplay();
  });
});

describe('bounds', () => {
  it('requests so many at a time and goes on at once', () => {
    const of = spec({ changesPerReactMax: 10 });
    const policy = kubernetesPolicy({ changesPerReactMax: 10 });
    of.when(apply(manifest({ replicas: 35 })));
    expect(named(of, 'InstanceRequested')).toHaveLength(35);
    let state = policy.initial();
    state = policy.evolve(state, of.log[0] as never);
    const first = policy.react(state, [], 7);
    expect(first.events.filter((event) => event.type === 'InstanceRequested')).toHaveLength(10);
    expect(first.wakeAt).toBe(7);
    of.when({ type: 'RemoveAll' });
    expect(named(of, 'InstanceWithdrawn')).toHaveLength(35);
    of.verifyReplay();
  });
});
