import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { CloudosError } from '@cloudos/sdk';
import type { OrchestrationMeasures, SimulatedRun, TraceRecord, WorkloadLife } from '@cloudos/what-if';
import { type Command, Option } from 'commander';
import type { CliContext } from '../context.ts';
import { outputOption, wholeNumber } from '../options.ts';
import { plural } from '../output/format.ts';
import { duration, measureLines } from '../output/measures.ts';
import { printStructured } from '../output/structured.ts';
import { stackFileOf } from '../stack-file.ts';
import { stateDirOf } from '../state-dir.ts';

interface WhatIfOptions {
  readonly stack: string[];
  readonly logStack?: string;
  readonly from?: number;
  readonly to?: number;
  readonly trace?: string;
  readonly nodes: 'recorded' | 'stack';
  readonly orchestrator: 'recorded' | 'stack';
  readonly chart?: string;
  readonly output: string;
}

export function addWhatIf(program: Command, context: CliContext): void {
  program
    .command('what-if')
    .description('replay a part of the log, or a trace, through the resource managers of other stacks and compare')
    .requiredOption(
      '--stack <file>',
      'a stack whose resource manager decides; may be repeated',
      (file: string, before: string[] = []) => [...before, file],
    )
    .option('--from <position>', 'begin there in the log', wholeNumber(0))
    .option('--to <position>', 'end there, inclusive', wholeNumber(0))
    .option('--trace <file>', 'replay a trace instead (docs/traces.md)')
    .option('--log-stack <file>', 'names the log plugin (default: the stack that ran last)')
    .addOption(
      new Option('--nodes <which>', 'nodes as recorded, or those that the stack names')
        .choices(['recorded', 'stack'])
        .default('recorded'),
    )
    .addOption(
      new Option('--orchestrator <which>', 'requests as recorded, or as the orchestrator of the stack makes them')
        .choices(['recorded', 'stack'])
        .default('recorded'),
    )
    .option('--chart <file>', 'draw it, as SVG')
    .addOption(outputOption('table', 'json'))
    .addHelpText(
      'after',
      `
Nodes are simulated and the clock is virtual: nothing is touched, and no kernel has to run. Demand is as it was
recorded; where each instance goes, and who is preempted, is decided anew. With --orchestrator stack so is what is
asked for: the workloads of the log are declared to the orchestrator of the stack, and guests behave as they did.

Examples:
  cloudos what-if --stack stacks/yarn.yaml --from 1000 --to 90000
  cloudos what-if --stack borg.yaml --stack yarn.yaml --trace cell.jsonl --chart cell.svg -o json`,
    )
    .action((options: WhatIfOptions) => whatIf(context, options));
}

async function whatIf(context: CliContext, options: WhatIfOptions): Promise<void> {
  const { terminal, cwd } = context;
  if (options.trace !== undefined && (options.from !== undefined || options.to !== undefined)) {
    throw new CloudosError('USAGE', '--from and --to are positions of the log; a trace is replayed as a whole');
  }
  const byStack = options.orchestrator === 'stack';
  if (byStack && options.trace !== undefined) {
    throw new CloudosError('USAGE', 'a trace has requests and no declarations: --orchestrator stack is for the log');
  }
  const demand = await demandOf(context, options);
  const { recorded, untilMs } = demand;
  const records = byStack ? (demand.declared ?? []) : demand.records;
  const { policiesOf } = await import('../what-if-stacks.ts');
  const { chart, inOrder, simulate, simulateStack } = await import('@cloudos/what-if');
  const runs: SimulatedRun[] = recorded ? [recorded] : [];
  for (const { name, policy, orchestrator, nodes } of await policiesOf(
    options.stack.map((file) => resolve(cwd, file)),
  )) {
    const own = options.nodes === 'stack' ? await withNodesOf(records, nodes) : records;
    if (!own.some(({ kind }) => kind === 'node')) {
      throw new CloudosError('USAGE', 'nothing says which nodes there are', { remedy: 'Add --nodes stack.' });
    }
    terminal.note(`${name}: ${plural(own.length, 'record')} …`);
    const common = { name, records: inOrder(own), ...(untilMs === undefined ? {} : { untilMs }) };
    const lives = demand.lives ?? new Map();
    runs.push(
      byStack
        ? await simulateStack({ ...common, resources: policy, orchestrator, lives })
        : await simulate({ ...common, policy }),
    );
  }
  if (options.chart !== undefined) {
    await writeFile(resolve(cwd, options.chart), chart(runs));
    terminal.note(`drawn in ${options.chart}`);
  }
  if (options.output === 'json') return printStructured(terminal, { records: records.length, runs }, 'json');
  for (const line of measureLines(runs, terminal.colors)) terminal.line(line);
  terminal.line();
  for (const { name, orchestration } of byStack ? runs : []) {
    if (orchestration) terminal.line(`${name}: ${inWords(orchestration)}`);
  }
  terminal.line(runs.map(({ name, durationMs }) => `${name}: ${duration(durationMs)}`).join(', '));
}

interface Demand {
  readonly records: readonly TraceRecord[];
  readonly declared?: readonly TraceRecord[];
  readonly lives?: ReadonlyMap<string, WorkloadLife>;
  readonly recorded?: SimulatedRun;
  readonly untilMs?: number;
}

async function demandOf(context: CliContext, options: WhatIfOptions): Promise<Demand> {
  if (options.trace !== undefined) {
    const { traceOf } = await import('../trace-files.ts');
    return { records: await traceOf(resolve(context.cwd, options.trace)) };
  }
  const stateDir = stateDirOf(context);
  const { demandOfLog } = await import('../log-demand.ts');
  const stackFile = await stackFileOf(context, options.logStack, stateDir);
  return demandOfLog(stackFile, stateDir, options.from ?? 0, options.to);
}

/** The nodes of the stack from the beginning on, in place of those that were recorded. */
async function withNodesOf(
  records: readonly TraceRecord[],
  nodes: (runtimes: readonly string[], timeMs: number) => Promise<TraceRecord[]>,
): Promise<TraceRecord[]> {
  const runtimes = new Set(['simulated']);
  for (const record of records) if (record.kind === 'instance' && record.runtime) runtimes.add(record.runtime);
  const begin = records.reduce((first, { timeMs }) => Math.min(first, timeMs), Number.POSITIVE_INFINITY);
  const rest = records.filter(({ kind }) => kind !== 'node' && kind !== 'node-gone');
  return [...(await nodes([...runtimes], Number.isFinite(begin) ? begin : 0)), ...rest];
}

function inWords({ requested, withdrawn, restarts, rollouts, slowestRolloutMs }: OrchestrationMeasures): string {
  const updates = `${plural(rollouts, 'rollout')} in ${duration(slowestRolloutMs)} at most`;
  return `${requested} requested, ${withdrawn} withdrawn, ${plural(restarts, 'restart')}, ${updates}`;
}
