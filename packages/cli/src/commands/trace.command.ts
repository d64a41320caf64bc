import { createWriteStream } from 'node:fs';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { CloudosError } from '@cloudos/sdk';
import type { TraceRecord } from '@cloudos/what-if';
import { type Command, Option } from 'commander';
import type { CliContext } from '../context.ts';
import { wholeNumber } from '../options.ts';
import { plural } from '../output/format.ts';
import { stackFileOf } from '../stack-file.ts';
import { stateDirOf } from '../state-dir.ts';

interface WriteOptions {
  readonly format: 'jsonl' | 'csv';
  readonly file?: string;
}

interface ConvertOptions extends WriteOptions {
  readonly from: 'google-2019' | 'alibaba-2018';
  readonly machineCores?: number;
  readonly machineMemoryGib?: number;
}

/** trace convert, export: what `what-if` replays. */
export function addTrace(program: Command, context: CliContext): void {
  const trace = program
    .command('trace')
    .description('make traces of demand for what-if (docs/traces.md)')
    .addHelpText(
      'after',
      '\nExamples:\n  cloudos trace export --file monday.jsonl\n  cloudos trace convert --from alibaba-2018 machine_meta.csv batch_task.csv',
    );
  const format = () => new Option('--format <form>').choices(['jsonl', 'csv']).default('jsonl');
  trace
    .command('convert')
    .description('convert tables of a public trace')
    .argument(
      '<files...>',
      'google-2019: machine_events, instance_events; alibaba-2018: machine_meta, container_meta, batch_task',
    )
    .addOption(new Option('--from <schema>').choices(['google-2019', 'alibaba-2018']).makeOptionMandatory())
    .addOption(format())
    .option('--machine-cores <cores>', 'google-2019: what the largest machine has (default: 96)', wholeNumber(1))
    .option('--machine-memory-gib <GiB>', 'memory of the largest machine (default: 512)', wholeNumber(1))
    .option('--file <path>', 'write there instead of standard output')
    .addHelpText(
      'after',
      `
Files may be packed (.gz). Google's tables are JSON lines or CSV with a header, as BigQuery exports them.

Examples:
  cloudos trace convert --from google-2019 machine_events.json.gz instance_events-*.json.gz --file cell.jsonl
  cloudos trace convert --from alibaba-2018 machine_meta.csv batch_task.csv --format csv > batch.csv`,
    )
    .action((files: string[], options: ConvertOptions) => convert(context, files, options));
  trace
    .command('export')
    .description('write the demand that a log has recorded')
    .option('--stack <file>', 'names the log plugin (default: the stack that ran last)')
    .option('--from <position>', 'begin there', wholeNumber(0))
    .option('--to <position>', 'end there, inclusive', wholeNumber(0))
    .addOption(format())
    .option('--file <path>', 'write there instead of standard output')
    .addHelpText('after', '\nExamples:\n  cloudos trace export --from 5000 --file monday.jsonl')
    .action(async (options: WriteOptions & { stack?: string; from?: number; to?: number }) => {
      const { demandOfLog } = await import('../log-demand.ts');
      const stateDir = stateDirOf(context);
      const stackFile = await stackFileOf(context, options.stack, stateDir);
      const { records } = await demandOfLog(stackFile, stateDir, options.from ?? 0, options.to);
      await write(context, options, records);
    });
}

async function convert(context: CliContext, files: readonly string[], options: ConvertOptions): Promise<void> {
  const paths = files.map((file) => resolve(context.cwd, file));
  const records = options.from === 'google-2019' ? google(paths, options) : alibaba(paths, options);
  await write(context, options, records);
}

async function* google(paths: readonly string[], options: ConvertOptions): AsyncGenerator<TraceRecord> {
  const { Google2019, googleScale, fieldsOf, malformed } = await import('@cloudos/what-if');
  const { linesOf } = await import('../trace-files.ts');
  const converter = new Google2019({
    cpuMillis: (options.machineCores ?? googleScale.cpuMillis / 1_000) * 1_000,
    memoryBytes: (options.machineMemoryGib ?? googleScale.memoryBytes / 1024 ** 3) * 1024 ** 3,
  });
  for (const path of paths) {
    let columns: string[] | undefined;
    let number = 0;
    for await (const line of linesOf(path)) {
      number++;
      if (line.trim() === '') continue;
      if (line.startsWith('{')) {
        yield* converter.take(JSON.parse(line) as Record<string, unknown>);
        continue;
      }
      const fields = fieldsOf(line);
      if (!fields) throw malformed(`${path}, line ${number}: a quote is not closed`);
      if (!columns) columns = fields;
      else yield* converter.take(Object.fromEntries(columns.map((column, at) => [column, fields[at]])));
    }
  }
  yield* converter.end();
}

async function* alibaba(paths: readonly string[], options: ConvertOptions): AsyncGenerator<TraceRecord> {
  const { Alibaba2018, alibabaScale, alibabaTableOf, fieldsOf, malformed } = await import('@cloudos/what-if');
  const { linesOf } = await import('../trace-files.ts');
  const gib = options.machineMemoryGib ?? alibabaScale.memoryBytes / 1024 ** 3;
  const converter = new Alibaba2018({ memoryBytes: gib * 1024 ** 3 });
  for (const path of paths) {
    const table = alibabaTableOf(path);
    if (!table) {
      throw new CloudosError('USAGE', `${path}: expected a file named machine_meta, container_meta or batch_task`);
    }
    let number = 0;
    for await (const line of linesOf(path)) {
      number++;
      if (line.trim() === '') continue;
      const fields = fieldsOf(line);
      if (!fields) throw malformed(`${path}, line ${number}: a quote is not closed`);
      yield* converter.take(table, fields);
    }
  }
}

async function write(
  { terminal, cwd }: CliContext,
  { format, file }: WriteOptions,
  records: Iterable<TraceRecord> | AsyncIterable<TraceRecord>,
): Promise<void> {
  const { csvHeader, csvLine } = await import('@cloudos/what-if');
  let count = 0;
  async function* text(): AsyncGenerator<string> {
    if (format === 'csv') yield `${csvHeader}\n`;
    for await (const record of records) {
      count++;
      yield `${format === 'csv' ? csvLine(record) : JSON.stringify(record)}\n`;
    }
  }
  if (file === undefined) for await (const line of text()) terminal.write(line);
  else await pipeline(Readable.from(text()), createWriteStream(resolve(cwd, file)));
  terminal.note(plural(count, 'record'));
}
