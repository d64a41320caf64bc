import { resolve } from 'node:path';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { plural } from '../output/format.ts';
import { fields } from '../output/table.ts';

export function addStack(program: Command, context: CliContext): void {
  program
    .command('stack')
    .description('look at stack files')
    .command('validate')
    .description('check a stack file, its plugins and their configuration; nothing is started')
    .argument('<file>')
    .addHelpText('after', '\nExamples:\n  cloudos stack validate stacks/simulated.yaml')
    .action(async (file: string) => {
      const { terminal, cwd } = context;
      const path = resolve(cwd, file);
      const { readStack } = await import('@cloudos/kernel');
      const stack = await readStack(path);
      const { checkStackPlugins } = await import('../stack-plugins.ts');
      const plugins = await checkStackPlugins(stack);
      const perSlot = new Map<string, Set<string>>();
      for (const { definition } of plugins) {
        perSlot.set(definition.slot, (perSlot.get(definition.slot) ?? new Set()).add(definition.name));
      }
      terminal.line(`${terminal.colors.green('valid')}: ${stack.name}, ${plural(stack.nodes.length, 'node')}`);
      const pairs = [...perSlot].map(([slot, names]) => [slot, [...names].join(', ')] as const);
      for (const line of fields(pairs, terminal.colors)) terminal.line(`  ${line}`);
    });
}
