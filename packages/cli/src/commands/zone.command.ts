import { dirname } from 'node:path';
import type { CloudosClient } from '@cloudos/client';
import {
  asCloudosError,
  CloudosError,
  type GuestSpec,
  type GuestStatus,
  type GuestTemplate,
  type InstanceView,
  workloadSpec,
} from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { readManifests } from '../manifest.ts';
import { printStructured } from '../output/structured.ts';
import { stackFileOf } from '../stack-file.ts';

/** What the plugin of zones exports besides: the translation of its native form. */
interface ZoneForm {
  templateOfZone(json: unknown): GuestTemplate;
  zoneJsonOf(spec: GuestSpec, status: GuestStatus): Record<string, unknown>;
}

/** A workload is called as the zone, and so are its instances: names that a host can have. */
const aliasPattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** zone create, get: zones in the JSON of vmadm, for any orchestrator of the stack. */
export function addZone(program: Command, context: CliContext): void {
  const zone = program.command('zone').description('zones in the JSON that vmadm of SmartOS takes and shows');
  zone.addHelpText('after', '\nExamples:\n  cloudos zone create -f zone.json\n  cloudos zone get web');
  zone
    .command('create')
    .description('declare a workload of one zone, called by its alias')
    .requiredOption('-f, --filename <file>', 'the JSON of the zone; - reads standard input')
    .addHelpText('after', '\nExamples:\n  cloudos zone create -f zone.json\n  cat zone.json | cloudos zone create -f -')
    .action(async ({ filename }: { filename: string }) => {
      const [manifest] = await readManifests(context, [filename]);
      const { templateOfZone } = await zoneForm(context);
      const template = templateOfZone(jsonOf(manifest?.text ?? '', filename));
      const workload = `default/${aliasOf(template, filename)}`;
      const spec = workloadSpec.parse({
        ...{ workload, kind: 'Zone', revision: 1, replicas: 1, template },
        strategy: { kind: 'recreate' },
      });
      const { client } = await connect(context);
      const result = await client.command({ slot: 'orchestrator', command: { type: 'Declare', spec } });
      context.terminal.line(`zone/${workload} ${result.events.length > 0 ? 'created' : 'unchanged'}`);
    });
  zone
    .command('get')
    .description('show a zone as vmadm does')
    .argument('<name>', 'its uuid (the name of the instance) or its alias')
    .addHelpText('after', '\nExample:\n  cloudos zone get web')
    .action(async (name: string) => {
      const { zoneJsonOf } = await zoneForm(context);
      const { client } = await connect(context);
      const { instance, template } = await zoneOf(client, name);
      const json = zoneJsonOf(specOf(instance, template), statusOf(instance));
      // A zone that no node has made yet (zones(7)).
      const state = early.has(instance.state) ? { state: 'configured', zone_state: 'configured' } : {};
      printStructured(context.terminal, { ...json, ...state }, 'json');
    });
}

const early: ReadonlySet<InstanceView['state']> = new Set(['pending', 'unplaceable', 'placed']);

/** @throws CloudosError PLUGIN_NOT_FOUND where the plugin of zones is not installed */
async function zoneForm(context: CliContext): Promise<ZoneForm> {
  const { loadPlugin } = await import('@cloudos/plugin-bus');
  const { exports } = await loadPlugin('guest-zones', dirname(await stackFileOf(context, undefined)));
  const form = exports as Partial<ZoneForm> | undefined;
  if (form?.templateOfZone && form.zoneJsonOf) return form as ZoneForm;
  throw new CloudosError('PLUGIN_INVALID', 'guest-zones does not export templateOfZone and zoneJsonOf', {
    remedy: 'Install the version of guest-zones that belongs to this command.',
  });
}

function jsonOf(text: string, source: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw asCloudosError(error, 'MANIFEST_MALFORMED', `the zone ${source} is not JSON`);
  }
}

function aliasOf({ labels }: GuestTemplate, source: string): string {
  const { alias } = labels;
  if (alias !== undefined && aliasPattern.test(alias)) return alias;
  const given = alias === undefined ? 'nothing' : JSON.stringify(alias);
  const expected = 'at most 63 lower-case letters, digits and dashes, such as web-1';
  throw new CloudosError('MANIFEST_INVALID', `zone ${source}: alias: given ${given}, expected ${expected}`);
}

/** @throws CloudosError INSTANCE_NOT_FOUND, also for more than one */
async function zoneOf(
  client: CloudosClient,
  name: string,
): Promise<{ readonly instance: InstanceView; readonly template: GuestTemplate }> {
  const { instances, workloads } = await client.view();
  const zones = instances.flatMap((instance) => {
    const spec = workloads.find((workload) => workload.spec.workload === instance.workload)?.spec;
    // Only the template of the current revision is known.
    const known = spec && instance.state !== 'removed' && instance.revision === spec.revision;
    const isZone = (instance.runtime ?? spec?.template.runtime) === 'zones';
    return known && isZone ? [{ instance, template: spec.template }] : [];
  });
  const exact = zones.filter(({ instance }) => instance.instance === name);
  const found = exact.length > 0 ? exact : zones.filter(({ template }) => template.labels.alias === name);
  if (found.length === 1 && found[0]) return found[0];
  const some = (found.length > 0 ? found : zones).slice(0, 10).map(({ instance }) => instance.instance);
  const message =
    found.length > 1
      ? `${name} is the alias of several zones: ${some.join(', ')}`
      : `no zone is called ${name}; there is ${some.join(', ') || 'none'}`;
  throw new CloudosError('INSTANCE_NOT_FOUND', message);
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
