import type { CloudosClient } from '@cloudos/client';
import { CloudosError, type InstanceView } from '@cloudos/sdk';
import { splitReference } from './resource-kinds.ts';

/**
 * Instances that a person means by a name: the one of that name, those of the workload of that name, or the only one
 * whose name begins so.
 * @throws CloudosError INSTANCE_NOT_FOUND naming some that exist
 */
export async function instancesOf(client: CloudosClient, reference: string): Promise<InstanceView[]> {
  const { name } = splitReference(reference);
  const instances = (await client.view()).instances.filter(({ state }) => state !== 'removed');
  const exact = instances.filter(({ instance }) => instance === name);
  if (exact.length > 0) return exact;
  const ofWorkload = instances.filter(({ workload }) => workload === name || workload === `default/${name}`);
  if (ofWorkload.length > 0) return ofWorkload;
  const beginning = instances.filter(({ instance }) => instance.startsWith(name));
  if (beginning.length === 1) return beginning;
  const some = (beginning.length > 0 ? beginning : instances).slice(0, 10).map(({ instance }) => instance);
  throw new CloudosError(
    'INSTANCE_NOT_FOUND',
    beginning.length > 1
      ? `${name} stands for several instances: ${some.join(', ')}`
      : `no instance or workload is called ${name}; there is ${some.join(', ') || 'none'}`,
  );
}

/** One instance: of several of a workload, the first that runs. */
export async function instanceOf(client: CloudosClient, reference: string): Promise<InstanceView> {
  const found = await instancesOf(client, reference);
  const running = found.find(({ state }) => state === 'ready') ?? found.find(({ state }) => state === 'running');
  const chosen = running ?? found[0];
  if (!chosen) throw new CloudosError('INSTANCE_NOT_FOUND', `${reference} has no instance`);
  return chosen;
}
