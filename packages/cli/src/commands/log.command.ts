import { createReadStream, createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { asCloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { exitCodes } from '../exit-codes.ts';
import type { LogAtRest } from '../log-at-rest.ts';
import { list, outputOption, positionOrTime, wholeNumber } from '../options.ts';
import { plural } from '../output/format.ts';
import { printStructured } from '../output/structured.ts';
import { stackFileOf } from '../stack-file.ts';
import { makeStateDir, stateDirOf } from '../state-dir.ts';

interface ExportOptions {
  readonly stack?: string;
  readonly from?: number;
  readonly to?: number;
  readonly types?: string[];
  readonly streams?: string[];
  readonly file?: string;
}

/** log verify, export, import, trim: on the log of a state directory, without a gateway. */
export function addLog(program: Command, context: CliContext): void {
  const log = program.command('log').description('verify, export, import or trim the event log of a state directory');
  const stackOption = ['--stack <file>', 'names the log plugin (default: the stack that ran last)'] as const;

  log
    .command('verify')
    .description('read everything and check it: checksums, positions, revisions')
    .option(...stackOption)
    .addOption(outputOption('table', 'json'))
    .addHelpText('after', '\nAlso while the kernel runs. Exit code 1 for damage.\n\nExamples:\n  cloudos log verify')
    .action((options: { stack?: string; output: string }) => verify(context, options));

  log
    .command('export')
    .description('print events as JSON lines')
    .option(...stackOption)
    .option('--from <position>', 'begin there', wholeNumber(0))
    .option('--to <position>', 'end there, inclusive', wholeNumber(0))
    .option('--types <list>', 'only these types; such an export cannot be imported', list)
    .option('--streams <list>', 'only these streams; such an export cannot be imported', list)
    .option('--file <path>', 'write there instead of standard output')
    .addHelpText(
      'after',
      '\nExamples:\n  cloudos log export > events.jsonl\n  cloudos log export --from 100 --to 199 --file part.jsonl',
    )
    .action((options: ExportOptions) => exportTo(context, options));

  log
    .command('import')
    .description('append exported events to a log that is empty or holds their beginning')
    .argument('[file]', 'JSON lines; - or nothing reads standard input', '-')
    .option(...stackOption)
    .addHelpText(
      'after',
      '\nThe kernel must not run.\n\nExamples:\n  cloudos log import events.jsonl --state-dir /tmp/copy',
    )
    .action((file: string, options: { stack?: string }) => importFrom(context, file, options));

  log
    .command('trim')
    .description('remove the oldest events, as far as every snapshot covers them')
    .requiredOption('--before <position|time>', 'keep everything from there on', positionOrTime)
    .option('--forget <keys>', 'first remove these snapshots: nobody will load them again', list)
    .option(...stackOption)
    .addOption(outputOption('table', 'json'))
    .addHelpText(
      'after',
      '\nThe kernel must not run. Export the events first if they are to be kept: a policy that has no snapshot in this' +
        '\nlog cannot be swapped in afterwards, and `state --at` goes back no further than the snapshot.' +
        '\n\nExamples:\n  cloudos log trim --before 250000\n  cloudos log trim --before 2026-01-31T12:00Z',
    )
    .action((options: TrimOptions) => trim(context, options));
}

interface TrimOptions {
  readonly before: ReturnType<typeof positionOrTime>;
  readonly forget?: string[];
  readonly stack?: string;
  readonly output: string;
}

async function opened(
  context: CliContext,
  stack: string | undefined,
  how: 'openForReading' | 'openForWriting',
): Promise<LogAtRest> {
  const stateDir = stateDirOf(context);
  const stackFile = await stackFileOf(context, stack, stateDir);
  if (how === 'openForWriting') await makeStateDir(stateDir);
  const rest = await import('../log-at-rest.ts');
  return rest[how](stackFile, stateDir);
}

async function verify(context: CliContext, options: { stack?: string; output: string }): Promise<void> {
  const { terminal } = context;
  const { log, close } = await opened(context, options.stack, 'openForReading');
  try {
    const showProgress = process.stderr.isTTY === true;
    const report = await log.verify((positions) => {
      if (showProgress) terminal.writeError(`\r${positions} events checked`);
    });
    if (showProgress) terminal.writeError('\r\x1b[K');
    if (!report.ok) context.setExitCode(exitCodes.failure);
    if (options.output === 'json') return printStructured(terminal, report, 'json');
    const { green, red } = terminal.colors;
    for (const { position, until, reason } of report.damages) {
      terminal.line(
        `${red('damage')} at position ${position}${until === undefined ? '' : ` to ${until - 1}`}: ${reason}`,
      );
    }
    const size = `${plural(report.events, 'event')} in ${plural(report.streams, 'stream')}, head ${report.head}`;
    terminal.line(report.ok ? `${green('sound')}: ${size}` : `${red('damaged')}: ${size}; restore from an export`);
  } finally {
    await close();
  }
}

async function exportTo(context: CliContext, options: ExportOptions): Promise<void> {
  const { terminal, cwd } = context;
  const { exportLog } = await import('@cloudos/event-log');
  const { log, close } = await opened(context, options.stack, 'openForReading');
  const filter = {
    ...(options.types ? { types: options.types } : {}),
    ...(options.streams ? { streams: options.streams } : {}),
  };
  const lines = exportLog(log, {
    ...(options.from === undefined ? {} : { from: options.from }),
    ...(options.to === undefined ? {} : { to: options.to }),
    filter,
  });
  try {
    // Without `end: false` standard output could not be written to afterwards.
    if (options.file === undefined) await pipeline(Readable.from(lines), process.stdout, { end: false });
    else {
      await pipeline(Readable.from(lines), createWriteStream(resolve(cwd, options.file), { mode: 0o600 }));
      terminal.note(`written to ${options.file}`);
    }
  } finally {
    await close();
  }
}

async function importFrom(context: CliContext, file: string, options: { stack?: string }): Promise<void> {
  const { importLog } = await import('@cloudos/event-log');
  const source = file === '-' ? context.stdin : createReadStream(resolve(context.cwd, file));
  source.setEncoding('utf8');
  const { log, close } = await opened(context, options.stack, 'openForWriting');
  try {
    const { imported, skipped, head } = await importLog(log, source as AsyncIterable<string>);
    context.terminal.line(`${plural(imported, 'event')} imported, ${skipped} were there already, head ${head}`);
  } catch (error) {
    throw asCloudosError(error, 'LOG_IMPORT_INVALID', `the import from ${file} failed`);
  } finally {
    await close();
  }
}

async function trim(context: CliContext, { before, forget = [], stack, output }: TrimOptions): Promise<void> {
  const { log, close } = await opened(context, stack, 'openForWriting');
  try {
    const position = 'position' in before ? before.position : await firstSince(log, before.time);
    for (const key of forget) await log.snapshots.remove(key);
    const { first, removed } = await log.trim(position);
    if (output === 'json') return printStructured(context.terminal, { first, removed }, 'json');
    context.terminal.line(`${plural(removed, 'event')} removed, the log begins at position ${first}`);
  } finally {
    await close();
  }
}

/** Position of the first event of that time or later. */
async function firstSince(log: LogAtRest['log'], time: number): Promise<number> {
  for await (const batch of log.read({})) {
    const event = batch.find((each) => each.time >= time);
    if (event) return event.position;
  }
  return log.head() + 1;
}
