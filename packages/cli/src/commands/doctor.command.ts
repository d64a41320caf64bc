import { dirname } from 'node:path';
import type { GuestPluginReport } from '@cloudos/kernel';
import type { DoctorReport } from '@cloudos/sdk';
import type { Command } from 'commander';
import type { CliContext } from '../context.ts';
import { connectTo } from '../endpoint.ts';
import { exitCodes } from '../exit-codes.ts';
import { outputOption } from '../options.ts';
import { printStructured } from '../output/structured.ts';
import { checkTable } from '../output/tables.ts';
import { stackFileOf } from '../stack-file.ts';
import { stateDirOf } from '../state-dir.ts';
import type { Terminal } from '../terminal.ts';

export function addDoctor(program: Command, context: CliContext): void {
  program
    .command('doctor')
    .description('examine the machine for a stack: what is there, what is missing, how to get it')
    .option('--stack <file>', 'examine for this stack (default: that of the running kernel)')
    .option('--stack-only', 'leave out the guest plugins that the stack does not use')
    .addOption(outputOption('table', 'json', 'yaml'))
    .addHelpText(
      'after',
      `
Works without a running kernel. Exit code 1 when something that the stack uses is missing. The guest plugins that are
installed and that the stack does not use are named besides: whether they could run here, and what they would need.

Examples:
  cloudos doctor
  cloudos doctor --stack stacks/simulated.yaml -o json`,
    )
    .action(async ({ stack, stackOnly, output }: { stack?: string; stackOnly?: boolean; output: string }) => {
      const { terminal } = context;
      const { used, ...report } = await reportOf(context, stack);
      const unused = stackOnly ? [] : await unusedGuests(context, stack, used);
      if (output === 'json' || output === 'yaml') printStructured(terminal, { ...report, unused }, output);
      else printReport(terminal, report, unused);
      const missing = report.nodes.some(({ checks }) => checks.some(({ status }) => status === 'missing'));
      if (missing) context.setExitCode(exitCodes.failure);
    });
}

/** The report, and the names of the plugins that the stack uses. */
async function reportOf(
  context: CliContext,
  stack: string | undefined,
): Promise<DoctorReport & { used: ReadonlySet<string> }> {
  const stateDir = stateDirOf(context);
  const running = stack === undefined ? await connectTo(stateDir) : undefined;
  if (running) {
    const [report, plugins] = await Promise.all([running.client.doctor(), running.client.plugins()]);
    return { ...report, used: new Set(plugins.map(({ plugin }) => plugin)) };
  }
  const stackFile = await stackFileOf(context, stack, stateDir);
  context.terminal.note(context.terminal.noteColors.dim(`for the stack ${stackFile}`));
  const [{ examine, readStack }, { checkStackPlugins }] = await Promise.all([
    import('@cloudos/kernel'),
    import('../stack-plugins.ts'),
  ]);
  const plugins = await checkStackPlugins(await readStack(stackFile));
  return { ...(await examine(stackFile)), used: new Set(plugins.map(({ definition }) => definition.name)) };
}

/** What the guest plugins that are installed beside those of the stack say of this machine. */
async function unusedGuests(
  context: CliContext,
  stack: string | undefined,
  used: ReadonlySet<string>,
): Promise<GuestPluginReport[]> {
  const [{ examineGuestPlugins }, { installedPluginList }] = await Promise.all([
    import('@cloudos/kernel'),
    import('../stack-plugins.ts'),
  ]);
  const installed = await installedPluginList(dirname(await stackFileOf(context, stack, stateDirOf(context))));
  return examineGuestPlugins(installed.filter(({ definition: { slot, name } }) => slot === 'guest' && !used.has(name)));
}

function printReport(terminal: Terminal, { nodes }: DoctorReport, unused: readonly GuestPluginReport[]): void {
  const { colors } = terminal;
  const used = nodes.flatMap(({ node, checks }) => checks.map((check) => ({ node, ...check })));
  const others = unused.flatMap(({ checks }) => checks.map((check) => ({ node: notInStack, ...check })));
  const table = checkTable({ colors, wide: false, now: Date.now });
  for (const line of table.render([...used, ...others])) terminal.line(line);
  const wanting = used.filter(({ status, remedy }) => status !== 'ok' && remedy !== undefined);
  terminal.line(wanting.length === 0 ? colors.green('\nNothing is missing.') : '');
  for (const { name, remedy, status } of wanting) {
    const mark = status === 'missing' ? colors.red('missing') : colors.yellow('warning');
    terminal.line(`${mark}  ${name}: ${remedy}`);
  }
  for (const { name, remedy, status } of others) {
    if (status !== 'ok' && remedy !== undefined) terminal.line(`${colors.dim('not in the stack')}  ${name}: ${remedy}`);
  }
}

/** Stands for the node of a plugin that the stack does not use. */
const notInStack = '-';
