import type { CloudosClient } from '@cloudos/client';
import { CloudosError, type CommandResult, type OrchestratorCommand } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { hindranceInWords, readyInWords, workloadsReady } from '../manifest.ts';
import { timeoutOption, wholeNumber } from '../options.ts';
import { waitForView } from '../wait.ts';

interface WaitFlags {
  readonly wait?: boolean;
  readonly timeout: number;
}

/** scale, rollback, restart: one command to the orchestrator about one workload. */
export function addWorkloadCommands(program: Command, context: CliContext): void {
  const waiting = (command: Command) =>
    command.option('--wait', 'wait until every instance is ready').addOption(timeoutOption('2m'));

  waiting(
    program
      .command('scale')
      .description('change the number of instances of a workload')
      .argument('<workload>', 'web, default/web or deployment/web')
      .argument('[replicas]', 'how many', wholeNumber(0, 1_000_000))
      .option('--replicas <n>', 'how many', wholeNumber(0, 1_000_000)),
  )
    .addHelpText('after', '\nExamples:\n  cloudos scale web 5\n  cloudos scale deployment/web --replicas=0 --wait')
    .action(async (workload: string, given: number | undefined, flags: WaitFlags & { replicas?: number }) => {
      const replicas = flags.replicas ?? given;
      if (replicas === undefined)
        throw new CloudosError('USAGE', 'how many instances was not said: cloudos scale web 5');
      await send(context, { type: 'Scale', workload, replicas }, flags, 'scaled');
    });

  waiting(
    program
      .command('rollback')
      .description('return a workload to an earlier revision')
      .argument('<workload>')
      .option('--to-revision <n>', 'which (default: the one before the current)', wholeNumber(1)),
  )
    .addHelpText('after', '\nExamples:\n  cloudos rollback web\n  cloudos rollback web --to-revision 3 --wait')
    .action(async (workload: string, flags: WaitFlags & { toRevision?: number }) => {
      const revision = flags.toRevision === undefined ? {} : { revision: flags.toRevision };
      await send(context, { type: 'Rollback', workload, ...revision }, flags, 'rolled back');
    });

  waiting(
    program
      .command('restart')
      .description('replace every instance of a workload, one after the other')
      .argument('<workload>'),
  )
    .addHelpText('after', '\nExamples:\n  cloudos restart web --wait')
    .action(async (workload: string, flags: WaitFlags) => {
      await send(context, { type: 'Restart', workload }, flags, 'restarted');
    });
}

async function send(
  { terminal, ...context }: CliContext,
  command: OrchestratorCommand,
  { wait, timeout }: WaitFlags,
  verb: string,
): Promise<void> {
  const { client } = await connect({ terminal, ...context });
  const result = await client.command({ slot: 'orchestrator', command });
  const changed = changedWorkload(result);
  const named = 'workload' in command ? command.workload : '';
  terminal.line(changed === undefined ? `${named} unchanged` : `${changed} ${verb}`);
  for (const warning of result.warnings) terminal.note(`${terminal.noteColors.yellow('warning:')} ${warning}`);
  if (wait && changed !== undefined) await waitUntilReady(client, changed, timeout, (text) => terminal.line(text));
}

function changedWorkload({ events }: CommandResult): string | undefined {
  const changed = events.find(({ type }) => type === 'WorkloadChanged' || type === 'WorkloadDeclared');
  return (changed?.data as { workload?: string } | undefined)?.workload;
}

async function waitUntilReady(
  client: CloudosClient,
  workload: string,
  timeoutMs: number,
  say: (text: string) => void,
): Promise<void> {
  const view = await waitForView(client, (state) => workloadsReady(state, [workload]), {
    what: `every instance of ${workload} is ready`,
    timeoutMs,
    describe: (state) => hindranceInWords(state, [workload]),
  });
  say(readyInWords(view, [workload]));
}
