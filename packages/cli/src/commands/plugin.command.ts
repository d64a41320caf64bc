import { dirname } from 'node:path';
import { messageOf } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { outputOption } from '../options.ts';
import { printStructured } from '../output/structured.ts';
import { Table } from '../output/table.ts';
import { stackFileOf } from '../stack-file.ts';

interface Row {
  readonly plugin: string;
  readonly slot: string;
  readonly version: string;
  readonly apiVersion: number;
  readonly inStack: boolean;
  readonly description: string;
}

export function addPlugin(program: Command, context: CliContext): void {
  program
    .command('plugin')
    .description('look at plugins')
    .command('list')
    .description('list the plugins that are installed, and which of them the stack uses')
    .option('--stack <file>', 'the stack file')
    .addOption(outputOption('table', 'json', 'yaml', 'name'))
    .addHelpText('after', '\nExamples:\n  cloudos plugin list\n  cloudos plugin list --stack stacks/simulated.yaml')
    .action(async ({ stack: given, output }: { stack?: string; output: string }) => {
      const { terminal } = context;
      const stackFile = await stackFileOf(context, given);
      const [{ readStack }, { installedPluginList, referencesOf }, { loadPlugin }] = await Promise.all([
        import('@cloudos/kernel'),
        import('../stack-plugins.ts'),
        import('@cloudos/plugin-bus'),
      ]);
      const stack = await readStack(stackFile);
      const used = new Set<string>();
      const broken: Row[] = [];
      const all = new Map((await installedPluginList(dirname(stackFile))).map((each) => [each.definition.name, each]));
      for (const { slot, entry } of referencesOf(stack)) {
        try {
          const plugin = await loadPlugin(entry.plugin, stack.dir);
          all.set(plugin.definition.name, plugin);
          used.add(plugin.definition.name);
        } catch (error) {
          const description = `cannot be loaded: ${messageOf(error)}`;
          broken.push({ plugin: entry.plugin, slot, version: '-', apiVersion: 0, inStack: true, description });
        }
      }
      const rows = [...all.values()].map(
        ({ definition, version }): Row => ({
          plugin: definition.name,
          slot: definition.slot,
          version,
          apiVersion: definition.apiVersion,
          inStack: used.has(definition.name),
          description: definition.description,
        }),
      );
      rows.push(...broken);
      rows.sort((one, other) => one.slot.localeCompare(other.slot) || one.plugin.localeCompare(other.plugin));
      if (output === 'json' || output === 'yaml') return printStructured(terminal, rows, output);
      if (output === 'name') return rows.forEach(({ plugin }) => void terminal.line(plugin));
      const table = new Table<Row>(
        [
          { header: 'SLOT', value: ({ slot }) => slot },
          { header: 'PLUGIN', value: ({ plugin }) => plugin, paint: terminal.colors.bold },
          { header: 'VERSION', value: ({ version }) => version },
          { header: 'API', value: ({ apiVersion }) => String(apiVersion), align: 'right' },
          { header: 'IN STACK', value: ({ inStack }) => (inStack ? 'yes' : '-') },
          { header: 'DESCRIPTION', value: ({ description }) => description },
        ],
        terminal.colors,
      );
      for (const line of table.render(rows)) terminal.line(line);
    });
}
