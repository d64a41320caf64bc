import { CloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { type Connection, connectTo } from '../endpoint.ts';
import { type Manifest, type Outcome, readManifests } from '../manifest.ts';
import { timeoutOption } from '../options.ts';
import { stackFileOf } from '../stack-file.ts';
import { stateDirOf } from '../state-dir.ts';
import { startDetached } from '../up/detach.ts';
import { runInForeground } from '../up/foreground.ts';
import { removeCreated, runManifests, withProgress } from '../up/run-manifests.ts';

interface UpOptions {
  readonly stack?: string;
  readonly apply?: string[];
  readonly detach?: boolean;
  readonly once?: boolean;
  readonly show?: boolean;
  readonly quiet?: boolean;
  readonly timeout: number;
}

export function addUp(program: Command, context: CliContext): void {
  program
    .command('up')
    .description('boot a stack and serve it')
    .option('--stack <file>', 'the stack file (default: $CLOUDOS_STACK, ./cloudos.yaml, the local stack)')
    .option('--apply <file...>', 'manifests to apply; - reads standard input')
    .option('-d, --detach', 'run in the background')
    .option('--once', 'remove again what was made, and end')
    .option('--show', 'show what runs when it is ready: instances, an answer from each, events')
    .option('--quiet', 'no progress')
    .addOption(timeoutOption('2m'))
    .addHelpText(
      'after',
      `
Stays in the foreground. Ctrl-C stops the kernel; guests go on running, and the next start adopts them.
When a kernel runs already with the state directory, --apply applies to that one.

Examples:
  cloudos up
  cloudos up --stack stacks/simulated.yaml --apply examples/web.yaml --show
  cloudos up --detach
  cloudos up --apply examples/web.yaml --show --once`,
    )
    .action((options: UpOptions) => up(context, options));
}

async function up(context: CliContext, options: UpOptions): Promise<void> {
  if (options.detach && options.once) throw new CloudosError('USAGE', '--detach and --once exclude each other');
  const stateDir = stateDirOf(context);
  const manifests = await readManifests(context, options.apply ?? []);
  const running = await connectTo(stateDir);
  if (running) return useRunning(context, running, stateDir, manifests, options);
  const stackFile = await stackFileOf(context, options.stack);
  if (!options.detach) {
    const { show = false, once = false, quiet = false, timeout: timeoutMs } = options;
    return runInForeground(context, { stackFile, stateDir, manifests, show, once, quiet, timeoutMs });
  }
  const started = await startDetached(stackFile, stateDir);
  context.terminal.line(`the kernel runs in the background: process ${started.pid}, ${started.url}`);
  if (started.fingerprint) context.terminal.line(`certificate: SHA-256 ${started.fingerprint}`);
  if (manifests.length > 0) await apply(context, started, manifests, options);
}

async function useRunning(
  context: CliContext,
  running: Connection & { pid: number },
  stateDir: string,
  manifests: readonly Manifest[],
  options: UpOptions,
): Promise<void> {
  const who = `a kernel runs already with ${stateDir}: process ${running.pid}, ${running.url}`;
  if (manifests.length === 0) {
    throw new CloudosError('KERNEL_ALREADY_RUNNING', who, {
      remedy: 'Use it, stop it with `cloudos stop`, or give another directory with --state-dir.',
      details: { pid: running.pid, url: running.url },
    });
  }
  context.terminal.line(who);
  await apply(context, running, manifests, options);
}

async function apply(
  { terminal }: CliContext,
  { client }: Connection,
  manifests: readonly Manifest[],
  { show = false, once = false, timeout: timeoutMs }: UpOptions,
): Promise<void> {
  let made: readonly Outcome[] = [];
  const signal = new AbortController().signal;
  await withProgress(terminal, client, async () => {
    try {
      await runManifests(terminal, client, manifests, { show, timeoutMs, signal }, (outcomes) => {
        made = outcomes;
      });
    } finally {
      if (once) await removeCreated(client, made, timeoutMs);
    }
  });
}
