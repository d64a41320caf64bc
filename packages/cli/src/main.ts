import type { Distribution } from './distribution.ts';
import { Interrupts } from './interrupts.ts';
import { runCommandLine } from './run.ts';
import { processTerminal } from './terminal.ts';

/** What may still be open when a command is done (a kept connection) holds the process no longer than this. */
const lingerMs = 1_000;

/**
 * Runs the command line of this process and sets its exit code.
 * @param distribution whose command it is; absent: that of cloudos itself
 */
export async function main(argv: readonly string[], distribution?: Distribution): Promise<void> {
  const interrupts = new Interrupts();
  process.exitCode = await runCommandLine(argv.slice(2), {
    terminal: processTerminal(),
    env: process.env,
    cwd: process.cwd(),
    stdin: process.stdin,
    ...(distribution && { distribution }),
    onInterrupt: (handler) => interrupts.push(handler),
  });
  interrupts.close();
  setTimeout(() => process.exit(), lingerMs).unref();
}
