import { isAbsolute, resolve } from 'node:path';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { configOf, outputOption } from '../options.ts';
import { printStructured } from '../output/structured.ts';

interface SwapOptions {
  readonly config: string[];
  readonly node?: string;
  readonly replaces?: string;
  readonly output: string;
}

export function addSwap(program: Command, context: CliContext): void {
  program
    .command('swap')
    .description('replace the plugin of a slot while everything runs')
    .argument('<slot>', 'resources | orchestrator | guest | host | api')
    .argument('<plugin>', 'name or path of the successor')
    .option(
      '--config <key=value|json>',
      'its configuration; may be repeated',
      (pair, before: string[]) => [...before, pair],
      [],
    )
    .option('--node <node>', 'only on this node (guest, host)')
    .option('--replaces <plugin>', 'which guest or api plugin it replaces')
    .addOption(outputOption('table', 'json'))
    .addHelpText(
      'after',
      `
Examples:
  cloudos swap resources resources-spread
  cloudos swap resources resources-borg --config seed=7
  cloudos swap orchestrator ./my-orchestrator --config '{"drainMs": 1000}'
  cloudos swap guest guest-zones --node n1`,
    )
    .action(async (slot: string, plugin: string, options: SwapOptions) => {
      const { terminal, cwd } = context;
      const config = configOf(options.config);
      const { client } = await connect(context);
      terminal.note(`${plugin} is catching up with the log …`);
      const result = await client.swap({
        slot,
        // The kernel may run elsewhere: a path is meant from here.
        plugin: /^\.{1,2}\//.test(plugin) && !isAbsolute(plugin) ? resolve(cwd, plugin) : plugin,
        ...(config === undefined ? {} : { config }),
        ...(options.node === undefined ? {} : { node: options.node }),
        ...(options.replaces === undefined ? {} : { replaces: options.replaces }),
      });
      if (options.output === 'json') return printStructured(terminal, result, 'json');
      const { green } = terminal.colors;
      terminal.line(
        `${green('swapped')} ${result.slot}: ${result.from} → ${result.to}, generation ${result.generation}, ` +
          `at position ${result.position}, level with the log in ${Math.round(result.catchUpMs)} ms`,
      );
    });
}
