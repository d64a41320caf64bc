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
    .addOption(outputOption('table', 'json', 'yaml'))
    .addHelpText(
      'after',
      `
Works without a running kernel. Exit code 1 when something is missing.

Examples:
  cloudos doctor
  cloudos doctor --stack stacks/simulated.yaml -o json`,
    )
    .action(async ({ stack, output }: { stack?: string; output: string }) => {
      const { terminal } = context;
      const report = await reportOf(context, stack);
      if (output === 'json' || output === 'yaml') printStructured(terminal, report, output);
      else printReport(terminal, report);
      const missing = report.nodes.some(({ checks }) => checks.some(({ status }) => status === 'missing'));
      if (missing) context.setExitCode(exitCodes.failure);
    });
}

async function reportOf(context: CliContext, stack: string | undefined): Promise<DoctorReport> {
  const stateDir = stateDirOf(context);
  const running = stack === undefined ? await connectTo(stateDir) : undefined;
  if (running) return running.client.doctor();
  const stackFile = await stackFileOf(context, stack, stateDir);
  context.terminal.note(context.terminal.noteColors.dim(`for the stack ${stackFile}`));
  const { examine } = await import('@cloudos/kernel');
  return examine(stackFile);
}

function printReport(terminal: Terminal, { nodes }: DoctorReport): void {
  const { colors } = terminal;
  const rows = nodes.flatMap(({ node, checks }) => checks.map((check) => ({ node, ...check })));
  const table = checkTable({ colors, wide: false, now: Date.now });
  for (const line of table.render(rows)) terminal.line(line);
  const wanting = rows.filter(({ status, remedy }) => status !== 'ok' && remedy !== undefined);
  if (wanting.length === 0) return terminal.line(colors.green('\nNothing is missing.'));
  terminal.line();
  for (const { name, remedy, status } of wanting) {
    const mark = status === 'missing' ? colors.red('missing') : colors.yellow('warning');
    terminal.line(`${mark}  ${name}: ${remedy}`);
  }
}
