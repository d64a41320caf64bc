import type { ExecSession } from '@cloudos/sdk';
import { CloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { instanceOf } from '../instance-names.ts';

interface ExecOptions {
  readonly stdin?: boolean;
  readonly tty?: boolean;
  readonly env?: string[];
  readonly workdir?: string;
  readonly container?: string;
}

export function addExec(program: Command, context: CliContext): void {
  program
    .command('exec')
    .description('run a command in an instance; its exit code becomes ours')
    .argument('<name>', 'instance, or workload (one of its instances)')
    .argument('<command...>', 'after --')
    .option('-i, --stdin', 'pass standard input on')
    .option('-t, --tty', 'give it a terminal')
    .option('-e, --env <NAME=value>', 'an environment variable; may be repeated', (pair, before: string[] = []) => [
      ...before,
      pair,
    ])
    .option('-c, --container <name>', 'which container, where the instance has several; else the first')
    .option('-w, --workdir <dir>', 'where it starts')
    .addHelpText(
      'after',
      `
Examples:
  cloudos exec web-5d9f-1 -- ps aux
  cloudos exec -it web -- sh
  echo hello | cloudos exec -i web -- cat`,
    )
    .action(async (name: string, command: string[], options: ExecOptions) => {
      context.setExitCode(await exec(context, name, command, options));
    });
}

async function exec(context: CliContext, name: string, command: string[], options: ExecOptions): Promise<number> {
  const { terminal, stdin } = context;
  const { client } = await connect(context);
  const { instance } = await instanceOf(client, name);
  const wantsTty = options.tty === true && stdin.isTTY === true;
  if (options.tty && !wantsTty) terminal.note('no terminal here: -t has no effect');
  const session = await client.exec(instance, {
    command,
    ...(options.env ? { env: Object.fromEntries(options.env.map(variable)) } : {}),
    ...(options.container === undefined ? {} : { container: options.container }),
    ...(options.workdir === undefined ? {} : { workingDir: options.workdir }),
    ...(wantsTty ? { tty: terminalSize() } : {}),
  });
  const printed = new Promise<void>((resolve) => {
    session.output.subscribe({
      next: ({ stream, data }) => (stream === 'stdout' ? terminal.write(data) : terminal.writeError(data)),
      complete: resolve,
      error: () => resolve(),
    });
  });
  const leave = options.stdin ? feed(context, session, wantsTty) : () => {};
  if (!options.stdin) session.end();
  try {
    const exitCode = await session.exitCode;
    await printed;
    return exitCode;
  } finally {
    leave();
  }
}

/** Passes input on, and with a terminal every key and every change of size. Returns how to stop. */
function feed({ stdin, onInterrupt }: CliContext, session: ExecSession, tty: boolean): () => void {
  const resized = () => {
    const { columns, rows } = terminalSize();
    session.resize(columns, rows);
  };
  let written: Promise<void> = Promise.resolve();
  const onData = (chunk: Buffer) => {
    stdin.pause();
    written = session.write(chunk).then(
      () => void stdin.resume(),
      () => {},
    );
  };
  const onEnd = () => void written.then(() => session.end());
  if (tty) {
    stdin.setRawMode(true);
    process.stdout.on('resize', resized);
  }
  stdin.on('data', onData);
  stdin.on('end', onEnd);
  const restore = () => {
    stdin.off('data', onData);
    stdin.off('end', onEnd);
    process.stdout.off('resize', resized);
    if (tty) stdin.setRawMode(false);
    stdin.pause();
  };
  const undo = onInterrupt((signal) => {
    restore();
    session.kill();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  });
  return () => {
    restore();
    undo();
  };
}

/** Some terminals do not know their size and say 0. */
function terminalSize(): { columns: number; rows: number } {
  return { columns: process.stdout.columns || 80, rows: process.stdout.rows || 24 };
}

function variable(pair: string): [string, string] {
  const at = pair.indexOf('=');
  if (at <= 0) throw new CloudosError('USAGE', `--env ${pair}: expected NAME=value`);
  return [pair.slice(0, at), pair.slice(at + 1)];
}
