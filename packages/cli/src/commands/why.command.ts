import type { Explanation } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { outputOption } from '../options.ts';
import { clockTime } from '../output/format.ts';
import { printStructured } from '../output/structured.ts';
import { Table } from '../output/table.ts';
import { splitReference } from '../resource-kinds.ts';
import type { Terminal } from '../terminal.ts';

export function addWhy(program: Command, context: CliContext): void {
  program
    .command('why')
    .description('say why an instance, a workload or a node is as it is: the events that led there')
    .argument('<name>')
    .addOption(outputOption('table', 'json', 'yaml'))
    .addHelpText('after', '\nExamples:\n  cloudos why web-5d9f-1\n  cloudos why default/web -o json')
    .action(async (name: string, { output }: { output: string }) => {
      const { client } = await connect(context);
      const explanation = await client.why(splitReference(name).name);
      if (output === 'json' || output === 'yaml') printStructured(context.terminal, explanation, output);
      else printExplanation(context.terminal, explanation);
    });
}

export function printExplanation(terminal: Terminal, { summary, steps }: Explanation): void {
  const { colors } = terminal;
  terminal.line(colors.bold(summary));
  if (steps.length === 0) return;
  terminal.line();
  const now = Date.now();
  const table = new Table<Explanation['steps'][number]>(
    [
      { header: 'POSITION', value: ({ position }) => String(position), align: 'right', paint: colors.cyan },
      { header: 'TIME', value: ({ time }) => clockTime(time, now), paint: colors.dim },
      { header: 'BY', value: ({ by }) => by },
      { header: 'EVENT', value: ({ type }) => type, paint: colors.bold },
      { header: 'WHICH SAYS', value: ({ text }) => text },
    ],
    colors,
  );
  for (const line of table.render(steps)) terminal.line(line);
}
