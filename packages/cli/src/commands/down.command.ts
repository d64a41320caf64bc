import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect, connectTo, isAlive } from '../endpoint.ts';
import { stackFileOf } from '../stack-file.ts';
import { stateDirOf } from '../state-dir.ts';
import { FileLogger, logLevelOf } from '../up/file-logger.ts';
import { stepLine } from '../up/live-progress.ts';

/** How long the process of a kernel may take to end after everything was taken down. */
const processEndMs = 30_000;
const pollMs = 20;

export function addDown(program: Command, context: CliContext): void {
  program
    .command('down')
    .description('remove every workload and guest and whatever was made on the nodes, and stop the kernel')
    .option('--stack <file>', 'where no kernel runs: the stack (default: the one that ran last)')
    .addHelpText('after', '\nThe event log stays.\n\nExamples:\n  cloudos down')
    .action(async ({ stack }: { stack?: string }) => {
      context.terminal.goOnUnread();
      const stateDir = stateDirOf(context);
      const running = await connectTo(stateDir);
      const { terminal } = context;
      const say = (text: string) => terminal.line(stepLine(terminal.colors, 'down', text));
      if (running) {
        await running.client.down(say);
        await processEnd(running.pid);
      } else if (existsSync(stateDir)) {
        await downWithoutKernel(context, stateDir, stack, say);
        // Left by a kernel that was killed.
        await rm(join(stateDir, 'endpoint.json'), { force: true });
      } else return terminal.line(`nothing has ever run with ${stateDir}`);
      terminal.line(stepLine(terminal.colors, 'done', 'nothing is left', terminal.colors.green));
    });

  program
    .command('stop')
    .description('stop the kernel; guests go on running, and the next start adopts them')
    .addHelpText('after', '\nExamples:\n  cloudos stop')
    .action(async () => {
      const { client, pid } = await connect(context);
      await client.stop();
      if (pid !== undefined) await processEnd(pid);
      context.terminal.line('the kernel has stopped; guests go on running');
    });
}

/** Boots the stack without a gateway: only the kernel knows what there is to remove. */
async function downWithoutKernel(
  context: CliContext,
  stateDir: string,
  stack: string | undefined,
  say: (text: string) => void,
): Promise<void> {
  const stackFile = await stackFileOf(context, stack, stateDir);
  const { bootKernel } = await import('@cloudos/kernel');
  const logger = new FileLogger(join(stateDir, 'kernel.log'), logLevelOf(context.env.CLOUDOS_LOG_LEVEL));
  try {
    const kernel = await bootKernel({ stackFile, stateDir, logger, onProgress: say });
    try {
      await kernel.down(say);
    } finally {
      await kernel.stop();
    }
  } finally {
    logger.close();
  }
}

async function processEnd(pid: number): Promise<void> {
  const deadline = Date.now() + processEndMs;
  while (isAlive(pid)) {
    if (Date.now() > deadline) {
      throw new CloudosError(
        'TIMED_OUT',
        `the process ${pid} of the kernel has not ended in ${processEndMs / 1000} s`,
        {
          remedy: `Everything was taken down; end the process with kill ${pid}.`,
        },
      );
    }
    await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
}
