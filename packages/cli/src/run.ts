import { CloudosError } from '@cloudos/sdk';
import { CommanderError } from 'commander';
import type { CliContext, GlobalOptions } from './context.ts';
import { exitCodeOf, exitCodes } from './exit-codes.ts';
import { printFailure } from './output/failure.ts';
import { buildProgram } from './program.ts';

/** Everything of a context but what the command line itself says. */
export type CliEnvironment = Omit<CliContext, 'globals' | 'setExitCode'>;

/** Runs one command line. Prints errors; resolves to the exit code. */
export async function runCommandLine(argv: readonly string[], environment: CliEnvironment): Promise<number> {
  let exitCode: number = exitCodes.ok;
  const setExitCode = (code: number) => {
    exitCode = code;
  };
  const program = buildProgram(
    (globals: () => GlobalOptions) => ({ ...environment, globals, setExitCode }),
    environment.distribution,
  );
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      // Help and version are no errors; to ask for nothing at all prints the help and is one.
      if (error.exitCode === exitCodes.ok) return exitCodes.ok;
      if (error.code === 'commander.help') return exitCodes.usage;
    }
    const failure = error instanceof CommanderError ? usageError(error) : error;
    printFailure(environment.terminal, failure, environment.env.CLOUDOS_DEBUG === '1');
    return exitCodeOf(failure);
  }
}

function usageError({ message }: CommanderError): CloudosError {
  return new CloudosError('USAGE', message.replace(/^error: /, ''), { remedy: 'See --help of the command.' });
}
