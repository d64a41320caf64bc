import type { CloudosClient } from '@cloudos/client';
import type { ClusterView } from '@cloudos/sdk';
import { CloudosError } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { type OutputForm, outputOption, wholeNumber } from '../options.ts';
import { printStructured } from '../output/structured.ts';
import type { Table } from '../output/table.ts';
import {
  eventTable,
  instanceTable,
  nodeTable,
  pluginTable,
  serviceTable,
  type TableOptions,
  workloadTable,
} from '../output/tables.ts';
import { type ResourceKind, resourceKindOf } from '../resource-kinds.ts';

interface GetOptions {
  readonly output: OutputForm;
  readonly watch?: boolean;
  readonly limit: number;
}

export function addGet(program: Command, context: CliContext): void {
  program
    .command('get')
    .description('list nodes, instances, workloads, services, plugins or events')
    .argument('[kind]', 'nodes | instances (pods) | workloads (deployments) | services | plugins | events', 'instances')
    .argument('[names...]', 'only these')
    .addOption(outputOption('table', 'wide', 'json', 'yaml', 'name'))
    .option('-w, --watch', 'go on and print what changes')
    .option('--limit <n>', 'how many events, the last ones', wholeNumber(1, 100_000), 20)
    .addHelpText(
      'after',
      `
Examples:
  cloudos get
  cloudos get workloads web -o yaml
  cloudos get nodes -o wide
  cloudos get instances -w
  cloudos get events --limit 50`,
    )
    .action(async (kindGiven: string, names: string[], options: GetOptions) => {
      const kind = resourceKindOf(kindGiven);
      const { client } = await connect(context);
      if (options.watch) await watch(context, client, kind, names, options);
      else await print(context, await fetchRows(client, kind, names, options.limit), options);
    });
}

/** The rows of one kind, with what it takes to print them. */
interface Rows {
  readonly rows: readonly unknown[];
  nameOf(row: unknown): string;
  table(options: TableOptions): Table<unknown>;
}

type NameOf<Row> = (row: Row) => string;

function rowsOf<Row>(rows: readonly Row[], name: NameOf<Row>, table: (options: TableOptions) => Table<Row>): Rows {
  return { rows, nameOf: name as NameOf<unknown>, table: table as (options: TableOptions) => Table<unknown> };
}

async function fetchRows(
  client: CloudosClient,
  kind: ResourceKind,
  names: readonly string[],
  limit: number,
): Promise<Rows> {
  if (kind === 'plugins')
    return only(
      rowsOf(await client.plugins(), ({ plugin }) => plugin, pluginTable),
      names,
    );
  if (kind === 'events') {
    const events = [];
    for await (const event of client.history({ direction: 'backwards', limit })) events.unshift(event);
    return rowsOf(events, ({ position }) => String(position), eventTable);
  }
  return only(rowsOfView(await client.view(), kind), names);
}

function rowsOfView(view: ClusterView, kind: 'nodes' | 'instances' | 'workloads' | 'services'): Rows {
  switch (kind) {
    case 'nodes':
      return rowsOf(view.nodes, ({ node }) => node, nodeTable);
    case 'instances':
      return rowsOf(view.instances, ({ instance }) => instance, instanceTable);
    case 'workloads':
      return rowsOf(view.workloads, ({ spec }) => spec.workload, workloadTable);
    case 'services':
      return rowsOf(view.services, ({ spec }) => spec.service, serviceTable);
  }
}

/** `web` stands for `default/web` too. Names that nothing has are refused. */
function only(all: Rows, names: readonly string[]): Rows {
  if (names.length === 0) return all;
  const matches = (row: unknown, name: string) => [name, `default/${name}`].includes(all.nameOf(row));
  const missing = names.find((name) => !all.rows.some((row) => matches(row, name)));
  if (missing !== undefined) {
    const known = all.rows.slice(0, 10).map(all.nameOf).join(', ') || 'none';
    throw new CloudosError('INSTANCE_NOT_FOUND', `nothing is called ${missing}; there is ${known}`, {
      remedy: 'List them without a name.',
    });
  }
  return { ...all, rows: all.rows.filter((row) => names.some((name) => matches(row, name))) };
}

async function print({ terminal }: CliContext, all: Rows, { output }: GetOptions): Promise<void> {
  if (output === 'json' || output === 'yaml') return printStructured(terminal, all.rows, output);
  if (output === 'name') {
    for (const row of all.rows) terminal.line(all.nameOf(row));
    return;
  }
  if (all.rows.length === 0) return terminal.note('nothing there');
  const table = all.table({ colors: terminal.colors, wide: output === 'wide', now: Date.now });
  for (const line of table.render(all.rows)) terminal.line(line);
}

/** Prints all rows, then each row again when it has changed, as `kubectl get -w` does. */
async function watch(
  context: CliContext,
  client: CloudosClient,
  kind: ResourceKind,
  names: readonly string[],
  options: GetOptions,
): Promise<void> {
  const { terminal } = context;
  const from = (await client.status()).head + 1;
  let all = await fetchRows(client, kind, [], options.limit);
  const wanted = (row: unknown) =>
    names.length === 0 || names.some((name) => [name, `default/${name}`].includes(all.nameOf(row)));
  const table = all.table({ colors: terminal.colors, wide: options.output === 'wide', now: Date.now });
  const shown = new Map<string, string>();
  const show = (row: unknown) => {
    if (options.output === 'json' || options.output === 'yaml') terminal.line(JSON.stringify(row));
    else terminal.line(options.output === 'name' ? all.nameOf(row) : table.row(row));
  };
  if (options.output === 'table' || options.output === 'wide') {
    table.render(all.rows.filter(wanted));
    terminal.line(table.header());
  }
  const refresh = () => {
    for (const row of all.rows.filter(wanted)) {
      const text = JSON.stringify(row);
      if (shown.get(all.nameOf(row)) === text) continue;
      shown.set(all.nameOf(row), text);
      show(row);
    }
  };
  refresh();
  // Events that came while a view was fetched are in the next one: the iterator holds them, and one look serves all.
  let seen = from - 1;
  for await (const event of client.events({ from })) {
    if (event.position <= seen) continue;
    seen = (await client.status()).head;
    all = await fetchRows(client, kind, [], options.limit);
    refresh();
  }
}
