import type { CloudosClient } from '@cloudos/client';
import {
  asCloudosError,
  CloudosError,
  type ClusterView,
  type GuestTemplate,
  type OrchestratorCommand,
} from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { readManifests } from '../manifest.ts';
import { waitForView, waitTimeoutMs } from '../wait.ts';
import { ownZone, type Zone, zoneForm, zoneOf } from '../zone-form.ts';

interface UpdateFlags {
  readonly filename?: string;
  readonly replace?: boolean;
}

const examples = `
Examples:
  cloudos zone update web cpu_cap=200 max_physical_memory=512
  echo '{"max_lwps": null, "set_tags": {"tier": "front"}}' | cloudos zone update web -f - --replace`;

/** zone update: limits change while the zone runs; what cannot asks for a new zone of the same name. */
export function addZoneUpdate(zone: Command, context: CliContext): void {
  zone
    .command('update')
    .description('change a zone: what it can take while it runs at once, what it cannot with --replace')
    .argument('<name>', 'its uuid (the name of the instance) or its alias')
    .argument('[properties...]', 'property=value, as vmadm takes them')
    .option('-f, --filename <file>', 'the JSON of the changes; - reads standard input')
    .option('--replace', 'make the zone anew with the changes, and with what they reserve on a node')
    .addHelpText('after', examples)
    .action(async (name: string, properties: readonly string[], flags: UpdateFlags) => {
      const json = await changesOf(context, properties, flags.filename);
      const { updateOfZone, liveProperties } = await zoneForm(context);
      const { client } = await connect(context);
      const found = ownZone(await zoneOf(client, name));
      const { template, changed } = updateOfZone(found.spec.template, json);
      const about = `zone/${found.spec.workload}`;
      if (changed.length === 0) return context.terminal.line(`${about} unchanged`);
      if (flags.replace) {
        await client.command(orchestrate({ type: 'Declare', spec: { ...found.spec, template }, replace: true }));
        return context.terminal.line(`${about} replaced: ${changed.join(', ')}`);
      }
      refuseStill(
        found,
        await client.view(),
        changed.filter((property) => !liveProperties.includes(property)),
      );
      await resize(client, found, template);
      context.terminal.line(`${about} updated: ${changed.join(', ')}`);
    });
}

async function changesOf(
  context: CliContext,
  properties: readonly string[],
  file: string | undefined,
): Promise<unknown> {
  if ((file === undefined) === (properties.length === 0)) {
    throw new CloudosError('USAGE', 'give the changes either as property=value or as a file: -f zone.json');
  }
  if (file !== undefined) {
    const [manifest] = await readManifests(context, [file]);
    return parsed(manifest?.text ?? '', (error) =>
      asCloudosError(error, 'MANIFEST_MALFORMED', `the changes in ${file} are not JSON`),
    );
  }
  return Object.fromEntries(
    properties.map((property) => {
      const at = property.indexOf('=');
      if (at <= 0) throw new CloudosError('USAGE', `${property}: expected property=value`);
      const text = property.slice(at + 1);
      // A number or a word, as vmadm takes them; what is more than that comes as JSON.
      return [property.slice(0, at), /^(true|false|null|-?\d+(\.\d+)?)$/.test(text) ? JSON.parse(text) : text];
    }),
  );
}

function parsed(text: string, failure: (error: unknown) => CloudosError): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw failure(error);
  }
}

/** @throws CloudosError COMMAND_REFUSED which names what the zone cannot take while it runs */
function refuseStill({ instance, spec }: Zone, { nodes }: ClusterView, still: readonly string[]): void {
  const node = nodes.find((each) => each.node === instance.node);
  const features = node?.runtimes.find(({ name }) => name === 'zones')?.features;
  const remedy = 'Make it anew with the changes: --replace.';
  if (still.length > 0) {
    const message = `${still.join(', ')}: a zone takes this when it is made, and ${spec.workload} is made already`;
    throw new CloudosError('COMMAND_REFUSED', message, { remedy });
  }
  if (node && features?.resize === false) {
    throw new CloudosError('COMMAND_REFUSED', `node ${node.node} cannot change the limits of a zone in place`, {
      remedy,
    });
  }
}

/**
 * Changes the limits, and waits for the node. What is reserved for the zone there stays as it was: reservations are the
 * resource manager's. A change that the node could not make is taken back.
 */
async function resize(client: CloudosClient, { instance, spec }: Zone, wanted: GuestTemplate): Promise<void> {
  const order = ({ limits, options }: GuestTemplate) =>
    client.command(orchestrate({ type: 'Resize', workload: spec.workload, limits, ...(options ? { options } : {}) }));
  await order(wanted);
  const now = (view: ClusterView) => view.instances.find((each) => each.instance === instance.instance);
  const view = await waitForView(client, (each) => now(each)?.resizing !== true, {
    what: `${instance.instance} has other limits`,
    timeoutMs: waitTimeoutMs,
  });
  const reason = now(view)?.reason;
  if (!reason?.startsWith('resize: ')) return;
  await order(spec.template);
  throw new CloudosError('COMMAND_REFUSED', `${spec.workload} keeps its limits: ${reason.slice('resize: '.length)}`, {
    remedy: 'Make it anew with the changes: --replace.',
  });
}

function orchestrate(command: OrchestratorCommand) {
  return { slot: 'orchestrator', command } as const;
}
