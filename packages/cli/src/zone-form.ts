import { dirname } from 'node:path';
import type { CloudosClient } from '@cloudos/client';
import {
  CloudosError,
  type ClusterView,
  type GuestSpec,
  type GuestStatus,
  type GuestTemplate,
  type InstanceView,
  type WorkloadSpec,
} from '@cloudos/sdk';
import type { CliContext } from './context.ts';
import { stackFileOf } from './stack-file.ts';

/** What the plugin of zones exports besides: the translation of its native form. */
export interface ZoneForm {
  templateOfZone(json: unknown): GuestTemplate;
  zoneJsonOf(spec: GuestSpec, status: GuestStatus): Record<string, unknown>;
  updateOfZone(
    template: GuestTemplate,
    json: unknown,
  ): { readonly template: GuestTemplate; readonly changed: readonly string[] };
  readonly liveProperties: readonly string[];
}

/** A zone of the stack: an instance and the workload that it is of. */
export interface Zone {
  readonly instance: InstanceView;
  readonly spec: WorkloadSpec;
}

const early: ReadonlySet<InstanceView['state']> = new Set(['pending', 'unplaceable', 'placed']);

/** @throws CloudosError PLUGIN_NOT_FOUND where the plugin of zones is not installed */
export async function zoneForm(context: CliContext): Promise<ZoneForm> {
  const { loadPlugin } = await import('@cloudos/plugin-bus');
  const { exports } = await loadPlugin('guest-zones', dirname(await stackFileOf(context, undefined)));
  const form = exports as Partial<ZoneForm> | undefined;
  if (form?.templateOfZone && form.zoneJsonOf && form.updateOfZone && form.liveProperties) return form as ZoneForm;
  throw new CloudosError('PLUGIN_INVALID', 'guest-zones does not export the JSON form of zones', {
    remedy: 'Install the version of guest-zones that belongs to this command.',
  });
}

/** Every zone that is wanted, at the revision that is known of its workload. */
export function zonesOf({ instances, workloads }: ClusterView): Zone[] {
  return instances.flatMap((instance) => {
    const spec = workloads.find((workload) => workload.spec.workload === instance.workload)?.spec;
    // Only the template of the current revision is known.
    const known = spec && instance.state !== 'removed' && instance.revision === spec.revision;
    const isZone = (instance.runtime ?? spec?.template.runtime) === 'zones';
    return known && isZone ? [{ instance, spec }] : [];
  });
}

/** @throws CloudosError INSTANCE_NOT_FOUND, also for more than one */
export async function zoneOf(client: CloudosClient, name: string): Promise<Zone> {
  const zones = zonesOf(await client.view());
  const exact = zones.filter(({ instance }) => instance.instance === name);
  const found = exact.length > 0 ? exact : zones.filter(({ spec }) => spec.template.labels.alias === name);
  if (found.length === 1 && found[0]) return found[0];
  const some = (found.length > 0 ? found : zones).slice(0, 10).map(({ instance }) => instance.instance);
  const message =
    found.length > 1
      ? `${name} is the alias of several zones: ${some.join(', ')}`
      : `no zone is called ${name}; there is ${some.join(', ') || 'none'}`;
  throw new CloudosError('INSTANCE_NOT_FOUND', message);
}

/** A zone that is its workload's only one. @throws CloudosError COMMAND_REFUSED for one of a Deployment and the like */
export function ownZone(zone: Zone): Zone {
  const { kind, workload } = zone.spec;
  if (kind === 'Zone') return zone;
  throw new CloudosError('COMMAND_REFUSED', `${zone.instance.instance} is an instance of the ${kind} ${workload}`, {
    remedy: `Change or delete the ${kind}: cloudos apply, cloudos delete.`,
  });
}

/** A zone in the JSON of vmadm. */
export function jsonOfZone({ zoneJsonOf }: ZoneForm, { instance, spec }: Zone): Record<string, unknown> {
  const json = zoneJsonOf(specOf(instance, spec.template), statusOf(instance));
  // A zone that no node has made yet (zones(7)).
  return early.has(instance.state) ? { ...json, state: 'configured', zone_state: 'configured' } : json;
}

function specOf({ instance, workload, node }: InstanceView, template: GuestTemplate): GuestSpec {
  return { instance, workload, node: node ?? '', template };
}

function statusOf({ instance, state, attempt, pid, address, exit }: InstanceView): GuestStatus {
  const running = state === 'running' || state === 'ready' || state === 'stopping';
  const ended = state === 'exited' || state === 'failed';
  return {
    ...{ instance, attempt, runtime: 'zones', handle: undefined },
    state: running ? 'running' : ended ? 'exited' : 'created',
    ...(running && pid !== undefined && { pid }),
    ...(running && address && { address }),
    ...(ended && exit && { exit: { ...exit, instance } }),
  };
}
