import type { ClusterView } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { outputOption, wholeNumber } from '../options.ts';
import { clockTime } from '../output/format.ts';
import { printStructured } from '../output/structured.ts';
import { instanceTable, nodeTable, serviceTable, type TableOptions, workloadTable } from '../output/tables.ts';
import type { Terminal } from '../terminal.ts';

export function addState(program: Command, context: CliContext): void {
  program
    .command('state')
    .description('show what the log says about the cluster at a position')
    .option('--at <position>', 'default: the last event', wholeNumber(0))
    .addOption(outputOption('table', 'wide', 'json', 'yaml'))
    .addHelpText('after', '\nExamples:\n  cloudos state --at 120\n  cloudos state --at 120 -o json | jq .instances')
    .action(async ({ at, output }: { at?: number; output: string }) => {
      const { client } = await connect(context);
      const view = await client.view(at);
      if (output === 'json' || output === 'yaml') printStructured(context.terminal, view, output);
      else printView(context.terminal, view, output === 'wide');
    });
}

function printView(terminal: Terminal, view: ClusterView, wide: boolean): void {
  const { colors } = terminal;
  terminal.line(colors.bold(`position ${view.position}, ${clockTime(view.time, Date.now())}`));
  // Ages as they were then.
  const options: TableOptions = { colors, wide, now: () => view.time };
  const sections = [
    view.nodes.length > 0 && nodeTable(options).render(view.nodes),
    view.workloads.length > 0 && workloadTable(options).render(view.workloads),
    view.instances.length > 0 && instanceTable(options).render(view.instances),
    view.services.length > 0 && serviceTable(options).render(view.services),
  ];
  for (const section of sections) {
    if (!section) continue;
    terminal.line();
    for (const line of section) terminal.line(line);
  }
}
