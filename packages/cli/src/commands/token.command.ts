import { type EventLayer, eventLayers, type Scope, scopes, type TokenInfo, type TokenRequest } from '@cloudos/client';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { durationMs, list, type OutputForm, outputOption } from '../options.ts';
import { age } from '../output/format.ts';
import { printStructured } from '../output/structured.ts';
import { type Column, Table } from '../output/table.ts';
import { paintState } from '../output/tables.ts';

interface CreateOptions {
  readonly scope: readonly Scope[];
  readonly types?: readonly string[];
  readonly streams?: readonly string[];
  readonly workload?: string;
  readonly node?: string;
  readonly layer?: EventLayer;
  readonly appendTo?: readonly string[];
  readonly expires: number | 'never';
  readonly output: OutputForm;
}

const ninetyDaysMs = 90 * 24 * 3_600_000;

export function addToken(program: Command, context: CliContext): void {
  const token = program
    .command('token')
    .description('make, list and revoke the tokens of the gateway')
    .addHelpText('after', '\nExamples:\n  cloudos token create dashboard --scope events:read\n  cloudos token list');

  token
    .command('create')
    .description('make a token and print it; it is not shown again')
    .argument('<name>', 'what to call it')
    .addOption(
      new Option('--scope <scopes>', `what it may do: ${scopes.join(', ')}`).argParser(scopeList).makeOptionMandatory(),
    )
    .option('--types <patterns>', 'it reads only events of these types, * at the end for any rest', list)
    .option('--streams <patterns>', 'it reads only events of these streams', list)
    .option('--workload <name>', 'it reads only events about this workload and its instances')
    .option('--node <name>', 'it reads only events about this node')
    .addOption(new Option('--layer <layer>', 'it reads only events of this layer').choices(eventLayers))
    .option('--append-to <patterns>', 'it appends only to these streams, each begins with x-', list)
    .option('--expires <time>', 'how long it is valid, such as 12h or 30d, or "never"', validity, ninetyDaysMs)
    .addOption(outputOption('table', 'json', 'yaml'))
    .addHelpText(
      'after',
      `
Examples:
  cloudos token create dashboard --scope events:read,state:read --expires 30d
  CLOUDOS_TOKEN=$(cloudos token create guests --scope events:read --types 'Guest*')
  cloudos token create deployer --scope orchestrator:command --expires never -o json`,
    )
    .action((name: string, options: CreateOptions) => create(context, name, options));

  token
    .command('list')
    .description('list the active tokens, and those that ended last')
    .addOption(outputOption('table', 'wide', 'json', 'yaml', 'name'))
    .addHelpText('after', '\nExamples:\n  cloudos token list\n  cloudos token list -o json')
    .action(async ({ output }: { output: OutputForm }) => {
      const { terminal } = context;
      const { client } = await connect(context);
      const rows = await client.tokens();
      if (output === 'json' || output === 'yaml') return printStructured(terminal, rows, output);
      if (output === 'name') return rows.forEach(({ id }) => void terminal.line(id));
      if (rows.length === 0) return terminal.note('none but the one in the token file');
      const table = new Table(columns(context, output === 'wide', Date.now()), terminal.colors);
      for (const line of table.render(rows)) terminal.line(line);
    });

  token
    .command('revoke')
    .description('end tokens at once, with every connection that they have open')
    .argument('<tokens...>', 'their ids or names')
    .addHelpText('after', '\nExamples:\n  cloudos token revoke dashboard')
    .action(async (tokens: string[]) => {
      const { client } = await connect(context);
      for (const each of tokens) {
        const { id, name, state } = await client.revokeToken(each);
        context.terminal.line(`token/${name} (${id}) ${state}`);
      }
    });
}

async function create(context: CliContext, name: string, options: CreateOptions): Promise<void> {
  const { terminal } = context;
  const { scope, types, streams, workload, node, layer, appendTo } = options;
  const events = {
    ...(types && { types }),
    ...(streams && { streams }),
    ...(workload !== undefined && { workload }),
    ...(node !== undefined && { node }),
    ...(layer !== undefined && { layer }),
  };
  const request: TokenRequest = {
    name,
    scopes: scope,
    ttlMs: options.expires === 'never' ? null : options.expires,
    ...(Object.keys(events).length > 0 ? { events } : {}),
    ...(appendTo ? { appends: appendTo } : {}),
  };
  const { client } = await connect(context);
  const created = await client.createToken(request);
  if (options.output === 'json' || options.output === 'yaml') {
    return printStructured(terminal, created, options.output);
  }
  // The token alone on standard output, so that it can be put into a variable.
  terminal.line(created.token);
  terminal.note(`token/${created.name} (${created.id}) created: ${described(created)}. It is not shown again.`);
}

function described(token: TokenInfo): string {
  const until =
    token.expiresAt === undefined ? 'never expires' : `valid until ${new Date(token.expiresAt).toISOString()}`;
  return `${token.scopes.join(', ')}; ${until}`;
}

function columns({ terminal }: CliContext, wide: boolean, now: number): Column<TokenInfo>[] {
  const all: (Column<TokenInfo> & { wide?: boolean })[] = [
    { header: 'TOKEN', value: ({ id }) => id },
    { header: 'NAME', value: ({ name }) => name, paint: terminal.colors.bold },
    { header: 'STATE', value: ({ state }) => state, paint: paintState(terminal.colors) },
    { header: 'AGE', value: ({ createdAt }) => age(now - createdAt), align: 'right' },
    { header: 'EXPIRES', value: (token) => expiresIn(token, now), align: 'right' },
    { header: 'SCOPES', value: (token) => token.scopes.join(',') },
    { header: 'EVENTS', value: ({ events }) => boundText(events), wide: true },
    { header: 'APPENDS TO', value: ({ appends }) => appends?.join(',') ?? '-', wide: true },
  ];
  return all.filter((column) => wide || !column.wide);
}

function boundText(events: TokenInfo['events']): string {
  const parts = Object.entries(events ?? {}).map(([condition, value]) => `${condition}=${value}`);
  return parts.join(' ') || '*';
}

function expiresIn({ expiresAt, state }: TokenInfo, now: number): string {
  if (state !== 'active') return '-';
  return expiresAt === undefined ? 'never' : age(expiresAt - now);
}

function scopeList(text: string, before: readonly Scope[] = []): readonly Scope[] {
  const given = list(text);
  const unknown = given.find((each) => !scopes.some((scope) => scope === each));
  if (unknown !== undefined) throw new InvalidArgumentError(`expected some of ${scopes.join(', ')}; given ${unknown}.`);
  return [...before, ...(given as Scope[])];
}

function validity(text: string): number | 'never' {
  return text === 'never' ? 'never' : durationMs(text);
}
