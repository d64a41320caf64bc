import type { CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import type { Manifest, Outcome } from '../manifest.ts';
import { printFailure } from '../output/failure.ts';
import { plural } from '../output/format.ts';
import type { Terminal } from '../terminal.ts';
import { adoptedInstances } from './adoption.ts';
import { LiveProgress, stepLine } from './live-progress.ts';
import { removeCreated, runManifests } from './run-manifests.ts';
import { type Ending, type ServedKernel, serveStack } from './served-kernel.ts';

export interface ForegroundOptions {
  readonly stackFile: string;
  readonly stateDir: string;
  readonly manifests: readonly Manifest[];
  readonly show: boolean;
  readonly once: boolean;
  readonly quiet: boolean;
  readonly timeoutMs: number;
}

/** A second signal within this time is the first one again: a terminal sends it to npm and to us, and npm passes it on. */
const sameSignalMs = 1_000;

/** Runs a kernel in this process until it is asked to end. Guests outlive it. */
export async function runInForeground(context: CliContext, options: ForegroundOptions): Promise<void> {
  const { terminal } = context;
  terminal.goOnUnread();
  const interrupted = new AbortController();
  let firstAt = 0;
  const undo = context.onInterrupt(() => {
    if (!interrupted.signal.aborted) {
      firstAt = Date.now();
      interrupted.abort();
    } else if (Date.now() - firstAt > sameSignalMs) process.exit(exitCodes.interrupted);
  });
  const say = options.quiet ? () => {} : (text: string) => terminal.line(text);
  say(terminal.colors.bold(`cloudos  ${terminal.colors.dim(options.stackFile)}`));
  const served = await serveStack(context, {
    ...options,
    onProgress: (text) => say(stepLine(terminal.colors, 'boot', text)),
  });
  try {
    await runServed(context, served, options, interrupted.signal, say);
  } finally {
    await served.close();
    undo();
  }
}

async function runServed(
  { terminal, env }: CliContext,
  served: ServedKernel,
  options: ForegroundOptions,
  interrupted: AbortSignal,
  say: (text: string) => void,
): Promise<void> {
  const { client, gateway } = served;
  const { colors } = terminal;
  say(stepLine(colors, 'gateway', `${gateway.url} ${colors.dim(`token in ${gateway.tokenFile}`)}`));
  if (gateway.fingerprint) say(stepLine(colors, 'certificate', `SHA-256 ${gateway.fingerprint}`));
  const adopted = await adoptedInstances(client);
  if (adopted.length > 0) say(stepLine(colors, 'adopted', plural(adopted.length, 'running instance'), colors.green));
  const { head } = await client.status();
  const progress = options.quiet ? undefined : new LiveProgress(client, head + 1, terminal);
  const before = await client.view();
  const wasEmpty = before.workloads.length === 0 && before.services.length === 0;
  let made: readonly Outcome[] = [];
  try {
    if (options.manifests.length > 0) {
      const { show, timeoutMs } = options;
      const run = runManifests(
        terminal,
        client,
        options.manifests,
        { show, timeoutMs, signal: interrupted },
        (outcomes) => {
          made = outcomes;
        },
      );
      await run.catch((error: unknown) => {
        if (interrupted.aborted) return;
        // The kernel goes on: what hinders can be looked into and mended from another terminal.
        if (options.once || made.length === 0) throw error;
        printFailure(terminal, error, env.CLOUDOS_DEBUG === '1');
      });
    }
    if (options.once) return;
    say('');
    say(colors.dim('The kernel runs. Ctrl-C stops it; guests go on running.'));
    const ending = await Promise.race([served.ended, aborted(interrupted)]);
    await sayEnding(terminal, served, ending, say);
  } finally {
    if (options.once) await removeAgain(terminal, served, made, wasEmpty, options.timeoutMs);
    progress?.stop();
  }
}

function aborted(signal: AbortSignal): Promise<{ how: 'interrupted' }> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve({ how: 'interrupted' });
    signal.addEventListener('abort', () => resolve({ how: 'interrupted' }), { once: true });
  });
}

async function sayEnding(
  terminal: Terminal,
  { kernel, logFile }: ServedKernel,
  ending: Ending | { how: 'interrupted' },
  say: (text: string) => void,
): Promise<void> {
  say('');
  if (ending.how === 'failed') {
    terminal.note(`the kernel cannot go on; guests go on running; see ${logFile}`);
    throw ending.error;
  }
  if (ending.how === 'down') return say('Everything was taken down; the kernel has stopped.');
  if (ending.how === 'stopped') return say('The kernel was stopped; guests go on running.');
  const { instances } = await kernel.view();
  const running = instances.filter(({ state }) => state === 'running' || state === 'ready').length;
  say(
    running === 0
      ? 'Stopping the kernel. No guest runs.'
      : `Stopping the kernel. ${plural(running, 'guest')} ${running === 1 ? 'goes' : 'go'} on running: ` +
          'the next start adopts them, `npx cloudos down` removes them.',
  );
}

/** Leaves nothing behind: everything if nothing was there before, else what this run has made. */
async function removeAgain(
  { colors, line }: Terminal,
  { client }: ServedKernel,
  made: readonly Outcome[],
  wasEmpty: boolean,
  timeoutMs: number,
): Promise<void> {
  line();
  line(colors.bold('Removing what was made'));
  if (wasEmpty) await client.down((text) => line(stepLine(colors, 'down', text)));
  else await removeCreated(client, made, timeoutMs);
  line(stepLine(colors, 'done', wasEmpty ? 'nothing is left' : 'what was there before goes on', colors.green));
}
