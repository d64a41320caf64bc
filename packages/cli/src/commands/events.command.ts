import { type EventsRange, toCloudEvent } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { list, type OutputForm, outputOption, wholeNumber } from '../options.ts';
import { eventTable } from '../output/tables.ts';

interface EventsOptions {
  readonly follow?: boolean;
  readonly from?: number;
  readonly to?: number;
  readonly types?: string[];
  readonly streams?: string[];
  readonly limit?: number;
  readonly output: OutputForm;
}

/** How many of the last events are shown when no range was given. */
const lastDefault = 50;
/** How many rows are read before the columns are fixed. */
const rowsAtOnce = 500;

export function addEvents(program: Command, context: CliContext): void {
  program
    .command('events')
    .description('print events of the log, those of the past and those to come')
    .option('-f, --follow', 'go on with what comes')
    .option('--from <position>', 'begin there (default: the last 50 events)', wholeNumber(0))
    .option('--to <position>', 'end there, inclusive', wholeNumber(0))
    .option('--types <list>', 'only these types; * at the end matches any rest', list)
    .option('--streams <list>', 'only these streams; * at the end matches any rest', list)
    .option('--limit <n>', 'at most that many', wholeNumber(1))
    .addOption(outputOption('table', 'wide', 'json'))
    .addHelpText(
      'after',
      `
With -o json each line is one CloudEvents 1.0 object.

Examples:
  cloudos events
  cloudos events -f --types 'Guest*'
  cloudos events --from 100 --to 200 --streams 'node-*'
  cloudos events --from 0 -f -o json | jq .type`,
    )
    .action((options: EventsOptions) => events(context, options));
}

async function events(context: CliContext, options: EventsOptions): Promise<void> {
  const { client } = await connect(context);
  const { stack, head } = await client.status();
  const printer = new EventPrinter(context, options.output, stack);
  const filter = {
    ...(options.types ? { types: options.types } : {}),
    ...(options.streams ? { streams: options.streams } : {}),
  };
  const end = Math.min(head, options.to ?? head);
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  for await (const event of pastEvents(client, options, { ...filter, to: end })) {
    printer.print(event);
    left--;
  }
  printer.flush();
  if (!options.follow || left <= 0) return;
  for await (const event of client.events({ ...filter, from: Math.max(options.from ?? 0, end + 1) })) {
    if (options.to !== undefined && event.position > options.to) return;
    printer.print(event);
    printer.flush();
    if (--left <= 0) return;
  }
}

async function* pastEvents(
  client: Awaited<ReturnType<typeof connect>>['client'],
  { from, to, limit }: EventsOptions,
  range: EventsRange,
): AsyncGenerator<RecordedEvent> {
  if (range.to !== undefined && range.to < 0) return;
  if (from !== undefined || to !== undefined) {
    yield* client.history({ ...range, from: from ?? 0, ...(limit === undefined ? {} : { limit }) });
    return;
  }
  const last: RecordedEvent[] = [];
  const { to: newest, ...filter } = range;
  for await (const event of client.history({
    ...filter,
    ...(newest === undefined ? {} : { from: newest }),
    direction: 'backwards',
    limit: Math.min(limit ?? lastDefault, 10_000),
  })) {
    last.unshift(event);
  }
  yield* last;
}

/** Prints a table as it comes: the columns are fixed by the first rows and widen when they must. */
class EventPrinter {
  readonly #context: CliContext;
  readonly #form: OutputForm;
  readonly #stack: string;
  readonly #table: ReturnType<typeof eventTable>;
  #waiting: RecordedEvent[] = [];
  #begun = false;

  constructor(context: CliContext, form: OutputForm, stack: string) {
    this.#context = context;
    this.#form = form;
    this.#stack = stack;
    const { colors, interactive, columns } = context.terminal;
    this.#table = eventTable({
      colors,
      wide: form === 'wide',
      now: Date.now,
      width: interactive ? columns : undefined,
    });
  }

  print(event: RecordedEvent): void {
    if (this.#form === 'json') return this.#context.terminal.line(JSON.stringify(toCloudEvent(event, this.#stack)));
    this.#waiting.push(event);
    if (this.#waiting.length >= rowsAtOnce) this.flush();
  }

  flush(): void {
    if (this.#waiting.length === 0) return;
    const lines = this.#table.render(this.#waiting);
    for (const line of this.#begun ? lines.slice(1) : lines) this.#context.terminal.line(line);
    this.#begun = true;
    this.#waiting = [];
  }
}
