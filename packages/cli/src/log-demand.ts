import { CloudosError } from '@cloudos/sdk';
import {
  inOrder,
  LogDeclarations,
  LogDemand,
  RecordedRun,
  type SimulatedRun,
  type TraceRecord,
  type WorkloadLife,
} from '@cloudos/what-if';
import { openForReading } from './log-at-rest.ts';

export interface DemandOfLog {
  readonly records: readonly TraceRecord[];
  /** Nodes, what operators said and what was declared, in place of what was requested; and how guests behaved. */
  readonly declared: readonly TraceRecord[];
  readonly lives: ReadonlyMap<string, WorkloadLife>;
  /** What really happened, by the same measures. */
  readonly recorded: SimulatedRun;
  /** Time of the last event, epoch ms. */
  readonly untilMs: number;
}

/**
 * The demand in a part of the log of a state directory, also while its kernel runs.
 * @throws CloudosError of the log; POSITION_OUT_OF_RANGE; LOG_TRIMMED
 */
export async function demandOfLog(
  stackFile: string,
  stateDir: string,
  from: number,
  to: number | undefined,
): Promise<DemandOfLog> {
  const { log, close } = await openForReading(stackFile, stateDir);
  try {
    const head = log.head();
    const last = to ?? head;
    if (from > last || last > head) {
      throw new CloudosError(
        'POSITION_OUT_OF_RANGE',
        `from ${from} to ${last} is not in the log, which has 0 to ${head}`,
      );
    }
    const times = { from: 0, to: 0 };
    for await (const batch of log.read({ from, to: from })) times.from = batch[0]?.time ?? 0;
    for await (const batch of log.read({ from: last, to: last })) times.to = batch[0]?.time ?? 0;
    const demand = new LogDemand(from);
    const declarations = new LogDeclarations(from);
    const recorded = new RecordedRun(times.from, times.to);
    for await (const batch of log.read({ to: last })) {
      for (const event of batch) {
        demand.take(event);
        declarations.take(event);
        recorded.take(event);
      }
    }
    const { records } = demand;
    const { lives } = declarations;
    const rest = records.filter(({ kind }) => kind !== 'instance' && kind !== 'end');
    const declared = inOrder([...rest, ...declarations.records]);
    return { records, declared, lives, recorded: recorded.result('recorded'), untilMs: times.to };
  } finally {
    await close();
  }
}
