import type { OrchestratorCommand, WorkloadSpec } from '@cloudos/sdk';
import { policySpec } from '@cloudos/testing';
import { describe, expect, it } from 'vitest';
import { kubernetesPolicy } from './kubernetes.policy.ts';

const spec = () => policySpec(kubernetesPolicy());

function web(replicas: number): OrchestratorCommand {
  const labels = { app: 'web' };
  const template = { metadata: { labels }, spec: { containers: [{ name: 'web', image: 'host:' }] } };
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'web' },
    spec: { replicas, selector: { matchLabels: labels }, template },
  };
  return { type: 'Apply', text: JSON.stringify(deployment) };
}

describe('other limits in place, and another specification', () => {
  const limits = { cpuMillis: 700, memoryBytes: 2 ** 26, diskBytes: 0, pids: 50 };

  it('keep the revision and the instances; an instance of later gets them too', () => {
    const of = spec().when(web(2));
    const ids = of.decided.flatMap(({ type, data }) =>
      type === 'InstanceRequested' ? [(data as { instance: string }).instance] : [],
    );
    of.when({ type: 'Resize', workload: 'web', limits });
    expect(of.decided.map(({ type }) => type)).toEqual(['WorkloadChanged']);
    expect(of.decided[0]?.data).toMatchObject({ revision: 1, template: { limits } });
    of.when({ type: 'Resize', workload: 'web', limits }).thenNothing();
    of.when(...ids.map((instance) => ({ type: 'GuestResized', data: { instance, node: 'n1', limits } }))).thenNothing();
    of.when({ type: 'Scale', workload: 'web', replicas: 3 });
    expect(of.decided.find(({ type }) => type === 'InstanceRequested')?.data).toMatchObject({ revision: 1 });
    of.verifyReplay();
  });

  it('replace the instances where it is asked for', () => {
    const of = spec().when(web(1));
    const declared = of.decided.find(({ type }) => type === 'WorkloadDeclared')?.data as WorkloadSpec;
    const zone = { ...declared, workload: 'default/zone', kind: 'Zone', manifest: undefined };
    of.when({ type: 'Declare', spec: zone });
    const other = { ...zone, template: { ...zone.template, hostname: 'other' } };
    of.when({ type: 'Declare', spec: other }).thenRefused('COMMAND_REFUSED');
    of.when({ type: 'Declare', spec: { ...other, kind: 'Pod' }, replace: true }).thenRefused('COMMAND_REFUSED');
    of.when({ type: 'Declare', spec: other, replace: true });
    expect(of.decided.find(({ type }) => type === 'WorkloadChanged')?.data).toMatchObject({
      revision: 2,
      kind: 'Zone',
    });
    of.when({ type: 'Declare', spec: other, replace: true }).thenNothing();
    of.verifyReplay();
  });
});
