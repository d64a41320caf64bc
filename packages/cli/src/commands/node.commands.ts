import type { ResourcesCommand } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { timeoutOption } from '../options.ts';
import { plural } from '../output/format.ts';
import { waitForView } from '../wait.ts';

/** cordon, uncordon, drain: one command to the resource manager about one node. */
export function addNodeCommands(program: Command, context: CliContext): void {
  program
    .command('cordon')
    .description('place nothing new on a node')
    .argument('<node>')
    .option('--reason <text>', 'why, for the record', '')
    .addHelpText('after', '\nExamples:\n  cloudos cordon n1 --reason "new disk"')
    .action((node: string, { reason }: { reason: string }) =>
      send(context, { type: 'CordonNode', node, reason }, 'cordoned'),
    );

  program
    .command('uncordon')
    .description('let a node take instances again')
    .argument('<node>')
    .addHelpText('after', '\nExamples:\n  cloudos uncordon n1')
    .action((node: string) => send(context, { type: 'UncordonNode', node }, 'uncordoned'));

  program
    .command('drain')
    .description('cordon a node and move its instances away')
    .argument('<node>')
    .option('--reason <text>', 'why, for the record', '')
    .option('--no-wait', 'do not wait until the node is empty')
    .addOption(timeoutOption('5m'))
    .addHelpText('after', '\nExamples:\n  cloudos drain n1 --reason "kernel upgrade"')
    .action(async (node: string, options: { reason: string; wait: boolean; timeout: number }) => {
      await send(context, { type: 'DrainNode', node, reason: options.reason }, 'draining');
      if (!options.wait) return;
      const { client } = await connect(context);
      const left = (view: Awaited<ReturnType<typeof client.view>>) =>
        view.nodes.find((each) => each.node === node)?.instances ?? 0;
      await waitForView(client, (view) => left(view) === 0, {
        what: `node ${node} is empty`,
        timeoutMs: options.timeout,
        describe: (view) => `${plural(left(view), 'instance')} left`,
      });
      context.terminal.line(`node/${node} drained`);
    });
}

type NodeCommand = Extract<ResourcesCommand, { type: 'CordonNode' | 'UncordonNode' | 'DrainNode' }>;

async function send(context: CliContext, command: NodeCommand, verb: string): Promise<void> {
  const { terminal } = context;
  const { client } = await connect(context);
  const result = await client.command({ slot: 'resources', command });
  terminal.line(`node/${command.node} ${result.events.length === 0 ? 'unchanged' : verb}`);
  for (const warning of result.warnings) terminal.note(`${terminal.noteColors.yellow('warning:')} ${warning}`);
}
