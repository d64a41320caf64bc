import { CloudosError } from '@cloudos/sdk';
import { CommanderError } from 'commander';
import type { CliContext } from './context.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { Interrupts } from './interrupts.ts';
import { printFailure } from './output/failure.ts';
import { buildProgram } from './program.ts';
import { processTerminal } from './terminal.ts';

/** What may still be open when a command is done (a kept connection) holds the process no longer than this. */
const lingerMs = 1_000;

/** Runs the command line of this process and sets its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  const terminal = processTerminal();
  const interrupts = new Interrupts();
  const program = buildProgram(
    (globals): CliContext => ({
      terminal,
      env: process.env,
      cwd: process.cwd(),
      stdin: process.stdin,
      globals,
      onInterrupt: (handler) => interrupts.push(handler),
    }),
  );
  try {
    await program.parseAsync(argv);
  } catch (error) {
    const failure = usageError(error);
    if (failure !== undefined) {
      process.exitCode = exitCodeOf(failure);
      printFailure(terminal, failure, process.env.CLOUDOS_DEBUG === '1');
    }
  } finally {
    interrupts.close();
    setTimeout(() => process.exit(), lingerMs).unref();
  }
}

/** What commander throws in our terms; undefined when it was help or the version, which are no errors. */
function usageError(error: unknown): unknown {
  if (!(error instanceof CommanderError)) return error;
  if (error.exitCode === exitCodes.ok) return undefined;
  // Without a command commander prints the help: to ask for nothing is a usage error.
  if (error.code === 'commander.help') {
    process.exitCode = exitCodes.usage;
    return undefined;
  }
  return new CloudosError('USAGE', error.message.replace(/^error: /, ''), { remedy: 'See --help of the command.' });
}
