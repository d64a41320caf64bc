import type { PlacementMeasures } from '@cloudos/sdk';
import type { Colors } from '../terminal.ts';
import { type Column, Table } from './table.ts';

interface MeasureRow {
  readonly name: string;
  readonly values: readonly string[];
}

/** Measures of several resource managers side by side. */
export function measureLines(
  sides: readonly { readonly name: string; readonly measures: PlacementMeasures }[],
  colors: Colors,
): string[] {
  const columns: Column<MeasureRow>[] = [
    { header: 'MEASURE', value: ({ name }) => name },
    ...sides.map(
      ({ name }, at): Column<MeasureRow> => ({
        header: name.toUpperCase(),
        value: ({ values }) => values[at] ?? '',
        align: 'right',
      }),
    ),
  ];
  const rows = rowsOf.map(([name, value]) => ({ name, values: sides.map(({ measures }) => value(measures)) }));
  return new Table(columns, colors).render(rows);
}

const rowsOf: readonly (readonly [name: string, value: (measures: PlacementMeasures) => string])[] = [
  ['placements', ({ placements }) => String(placements)],
  ['preemptions', ({ preemptions }) => String(preemptions)],
  ['placed now', ({ placed }) => String(placed)],
  ['waiting now', ({ pending }) => String(pending)],
  ['nodes in use', ({ nodes, nodesInUse }) => `${nodesInUse}/${nodes}`],
  ['cpu requested', ({ utilisation }) => percent(utilisation.cpu)],
  ['cpu, mean', ({ utilisationMean }) => percent(utilisationMean.cpu)],
  ['cpu, peak', ({ utilisationPeak }) => percent(utilisationPeak)],
  ['memory requested', ({ utilisation }) => percent(utilisation.memory)],
  ['memory, mean', ({ utilisationMean }) => percent(utilisationMean.memory)],
  ['fragmentation', ({ fragmentation }) => percent(fragmentation)],
  ['wait p50', ({ waitMs }) => duration(waitMs.p50)],
  ['wait p99', ({ waitMs }) => duration(waitMs.p99)],
  ['wait max', ({ waitMs }) => duration(waitMs.max)],
  ['fairness', ({ fairness }) => fairness.toFixed(3)],
];

export function percent(share: number): string {
  return `${(share * 100).toFixed(1)}%`;
}

/** `12ms`, `3.4s`, `5.6m`, `7.8h`. */
export function duration(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`;
  if (ms < 60_000) return `${(ms / 1_000).toFixed(1)}s`;
  if (ms < 3_600_000) return `${(ms / 60_000).toFixed(1)}m`;
  return `${(ms / 3_600_000).toFixed(1)}h`;
}
