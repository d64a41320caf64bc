import { isAbsolute, resolve } from 'node:path';
import { hasCode, type ShadowView } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connect } from '../endpoint.ts';
import { configOf, durationMs, outputOption } from '../options.ts';
import { age, plural } from '../output/format.ts';
import { measureLines, percent } from '../output/measures.ts';
import { printStructured } from '../output/structured.ts';
import type { Terminal } from '../terminal.ts';

interface ShadowOptions {
  readonly config: string[];
  readonly for?: number;
  readonly end?: true;
  readonly keep?: true;
  readonly output: string;
}

/** Between two looks at a shadow. */
const lookEveryMs = 1_000;

export function addShadow(program: Command, context: CliContext): void {
  program
    .command('shadow')
    .description('run another resource manager on the live log without acting, and compare')
    .argument('[plugin]', 'name or path of a resource manager; without it, the shadows that run are listed')
    .option(
      '--config <key=value|json>',
      'its configuration; may be repeated',
      (pair, before: string[]) => [...before, pair],
      [],
    )
    .option('--for <time>', 'look for that long, then print once', durationMs)
    .option('--keep', 'leave the shadow running when the command ends')
    .option('--end', 'end a shadow that was kept')
    .addOption(outputOption('table', 'json'))
    .addHelpText(
      'after',
      `
The shadow takes over in a world of its own where the manager in charge stands, and decides from then on for itself.
Who is wanted, who is gone and which nodes there are is real; where everyone is, is hypothetical.

Examples:
  cloudos shadow resources-yarn
  cloudos shadow resources-yarn --config '{"queues": [{"path": "root.eng"}]}' --for 5m -o json
  cloudos swap resources resources-yarn          # promote it`,
    )
    .action(async (plugin: string | undefined, options: ShadowOptions) => {
      const { client } = await connect(context);
      const { terminal } = context;
      if (plugin === undefined) return printShadows(terminal, await client.shadows(), options.output);
      if (options.end) return printShadows(terminal, [await client.endShadow(plugin)], options.output);
      const config = configOf(options.config);
      const reference = /^\.{1,2}\//.test(plugin) && !isAbsolute(plugin) ? resolve(context.cwd, plugin) : plugin;
      terminal.note(`${plugin} is catching up with the log …`);
      const begun = await client.shadow({ plugin: reference, ...(config === undefined ? {} : { config }) });
      const shadow = () => client.shadows().then((views) => views.find((view) => view.plugin === begun.plugin));
      const last = await watch(context, begun, shadow, options);
      if (!options.keep) {
        await client.endShadow(begun.plugin).catch((error: unknown) => {
          if (!hasCode(error, 'SHADOW_NOT_FOUND')) throw error;
        });
      }
      if (options.output === 'json') return printStructured(terminal, last, 'json');
      if (!terminal.interactive) for (const line of linesOf(last, terminal)) terminal.line(line);
    });
}

/** Shows the shadow until it is time, it has ended, or the process is asked to end. */
async function watch(
  context: CliContext,
  begun: ShadowView,
  look: () => Promise<ShadowView | undefined>,
  options: ShadowOptions,
): Promise<ShadowView> {
  const { terminal } = context;
  const asked = new AbortController();
  const undo = context.onInterrupt(() => asked.abort());
  const endsAt = options.for === undefined ? Number.POSITIVE_INFINITY : Date.now() + options.for;
  let last = begun;
  let shown = 0;
  try {
    for (;;) {
      if (terminal.interactive && options.output === 'table') shown = redraw(terminal, linesOf(last, terminal), shown);
      const left = endsAt - Date.now();
      if (left <= 0 || asked.signal.aborted) break;
      await pause(Math.min(lookEveryMs, left), asked.signal);
      const next = await look();
      if (!next) break;
      last = next;
      if (last.state === 'failed') break;
    }
  } finally {
    undo();
  }
  return last;
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    const timer = setTimeout(finish, ms);
    signal.addEventListener('abort', finish, { once: true });
    function finish(): void {
      clearTimeout(timer);
      signal.removeEventListener('abort', finish);
      done();
    }
  });
}

/** Writes over what it wrote before. Returns the lines that are on the screen now. */
function redraw(terminal: Terminal, lines: readonly string[], shown: number): number {
  if (shown > 0) terminal.write(`\u001b[${shown}A\u001b[J`);
  for (const line of lines) terminal.line(line);
  return lines.length;
}

function printShadows(terminal: Terminal, views: readonly ShadowView[], output: string): void {
  if (output === 'json') return printStructured(terminal, views, 'json');
  if (views.length === 0) return terminal.line('no shadow runs');
  for (const view of views) for (const line of linesOf(view, terminal)) terminal.line(line);
}

function linesOf(view: ShadowView, { colors }: Terminal): string[] {
  const { plugin, beside, agreement, differences, state, reason, since, from, position } = view;
  const { sameNode, otherNode, onlyReal, onlyShadow, neither } = agreement;
  const all = sameNode + otherNode + onlyReal + onlyShadow + neither;
  const alike = sameNode + otherNode + neither;
  return [
    `${colors.bold(plugin)} in the shadow of ${colors.bold(beside)}, for ${age(Date.now() - since)} and ${plural(position - from, 'event')}` +
      (state === 'failed' ? `, ${colors.red(`failed: ${reason}`)}` : ''),
    '',
    ...measureLines(
      [
        { name: beside, measures: view.real },
        { name: plugin, measures: view.shadow },
      ],
      colors,
    ),
    '',
    `agreement: ${all === 0 ? 'nothing to decide yet' : `${percent(alike / all)} of ${plural(all, 'instance')} placed by both or by neither`}` +
      ` (${sameNode} on the same node, ${otherNode} on another, ${onlyReal} only really, ${onlyShadow} only in the shadow)`,
    ...differences
      .slice(0, 5)
      .map(({ instance, real, shadow }) => `  ${instance}: ${real ?? 'waits'} ↔ ${shadow ?? 'waits'}`),
  ];
}
