import { asCloudosError, CloudosError, type GuestTemplate, workloadSpec } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { readManifests } from '../manifest.ts';
import { outputOption } from '../options.ts';
import { printStructured } from '../output/structured.ts';
import { Table } from '../output/table.ts';
import { jsonOfZone, ownZone, zoneForm, zoneOf, zonesOf } from '../zone-form.ts';
import { addZoneUpdate } from './zone-update.command.ts';

/** A workload is called as the zone, and so are its instances: names that a host can have. */
const aliasPattern = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** zone create, list, get, update, delete: zones in the JSON of vmadm, for any orchestrator of the stack. */
export function addZone(program: Command, context: CliContext): void {
  const zone = program.command('zone').description('zones in the JSON that vmadm of SmartOS takes and shows');
  zone.addHelpText(
    'after',
    '\nExamples:\n  cloudos zone create -f zone.json\n  cloudos zone get web\n  cloudos zone update web cpu_cap=200',
  );
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
    .command('list')
    .description('list the zones of the stack, as vmadm does')
    .addOption(outputOption('table', 'json'))
    .addHelpText('after', '\nExamples:\n  cloudos zone list\n  cloudos zone list -o json')
    .action(async ({ output }: { output: string }) => {
      const form = await zoneForm(context);
      const { client } = await connect(context);
      const zones = zonesOf(await client.view()).map((each) => jsonOfZone(form, each));
      if (output === 'json') return printStructured(context.terminal, zones, 'json');
      const text = (name: string) => (row: Record<string, unknown>) => String(row[name] ?? '-');
      const columns = [
        { header: 'UUID', value: text('uuid') },
        { header: 'BRAND', value: text('brand') },
        { header: 'RAM', value: text('max_physical_memory'), align: 'right' as const },
        { header: 'STATE', value: text('state') },
        { header: 'ALIAS', value: text('alias') },
      ];
      for (const line of new Table(columns, context.terminal.colors).render(zones)) context.terminal.line(line);
    });
  zone
    .command('get')
    .description('show a zone as vmadm does')
    .argument('<name>', 'its uuid (the name of the instance) or its alias')
    .addHelpText('after', '\nExample:\n  cloudos zone get web')
    .action(async (name: string) => {
      const form = await zoneForm(context);
      const { client } = await connect(context);
      printStructured(context.terminal, jsonOfZone(form, await zoneOf(client, name)), 'json');
    });
  addZoneUpdate(zone, context);
  zone
    .command('delete')
    .description('stop and remove a zone that zone create has made')
    .argument('<name>', 'its uuid (the name of the instance) or its alias')
    .addHelpText('after', '\nExample:\n  cloudos zone delete web')
    .action(async (name: string) => {
      const { client } = await connect(context);
      const { spec } = ownZone(await zoneOf(client, name));
      await client.command({ slot: 'orchestrator', command: { type: 'Remove', name: spec.workload } });
      context.terminal.line(`zone/${spec.workload} deleted`);
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
