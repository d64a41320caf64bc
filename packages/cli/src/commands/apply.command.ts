import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import {
  applyManifests,
  hindranceInWords,
  type Outcome,
  readManifests,
  readyInWords,
  workloadsReady,
} from '../manifest.ts';
import { timeoutOption } from '../options.ts';
import type { Terminal } from '../terminal.ts';
import { waitForView } from '../wait.ts';

interface ApplyOptions {
  readonly filename: string[];
  readonly wait?: boolean;
  readonly timeout: number;
}

export function addApply(program: Command, context: CliContext): void {
  program
    .command('apply')
    .description('make what a manifest declares')
    .requiredOption('-f, --filename <file...>', 'manifests; - reads standard input')
    .option('--wait', 'wait until every instance is ready')
    .addOption(timeoutOption('2m'))
    .addHelpText(
      'after',
      `
Examples:
  cloudos apply -f web.yaml
  cloudos apply -f web.yaml -f db.yaml --wait
  cat web.yaml | cloudos apply -f -`,
    )
    .action(async ({ filename, wait, timeout }: ApplyOptions) => {
      const manifests = await readManifests(context, filename);
      const { client } = await connect(context);
      const { outcomes, warnings } = await applyManifests(client, manifests);
      printOutcomes(context.terminal, outcomes, warnings);
      const workloads = outcomes.filter(({ what }) => what === 'workload').map(({ key }) => key);
      if (!wait || workloads.length === 0) return;
      const view = await waitForView(client, (state) => workloadsReady(state, workloads), {
        what: 'every instance is ready',
        timeoutMs: timeout,
        describe: (state) => hindranceInWords(state, workloads),
      });
      context.terminal.line(readyInWords(view, workloads));
    });
}

/** `deployment.apps/web created`, and the warnings. */
export function printOutcomes(terminal: Terminal, outcomes: readonly Outcome[], warnings: readonly string[]): void {
  for (const { object, verb } of outcomes) terminal.line(`${object} ${verb}`);
  for (const warning of warnings) terminal.note(`${terminal.noteColors.yellow('warning:')} ${warning}`);
}
