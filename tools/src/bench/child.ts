import { pathToFileURL } from 'node:url';
import type { Bench, BenchRow } from './bench.ts';

/** What the child tells the harness. */
export type BenchMessage =
  | { readonly kind: 'row'; readonly row: BenchRow }
  | { readonly kind: 'progress'; readonly text: string }
  | { readonly kind: 'passed-over'; readonly prefix: string };

/** What the harness gives the child, as one JSON argument. */
export interface BenchJob {
  readonly file: string;
  readonly only: string | null;
  readonly quick: boolean;
  readonly workDir: string;
}

/** True when a benchmark with that prefix can have rows that `only` selects. */
export function concerns(prefix: string, only: string | null): boolean {
  return only === null || within(prefix, only) || within(only, prefix);
}

/** True when `name` is `prefix` or below it: `log.append` is within `log`, `logs` is not. */
export function within(name: string, prefix: string): boolean {
  return name === prefix || name.startsWith(prefix.endsWith('.') ? prefix : `${prefix}.`);
}

/** Throws unless the row is complete: a figure that is not a number must not look like a result. */
export function checkRow(row: BenchRow): BenchRow {
  const wrong = (what: string) => new Error(`benchmark row ${JSON.stringify(row)}: ${what}`);
  if (!/^[a-z0-9-]+(\.[a-z0-9-]+)+$/i.test(row.name)) throw wrong('name must be dotted, as log.replay');
  if (!Number.isFinite(row.value)) throw wrong('value must be a finite number');
  if (row.bound !== null && !Number.isFinite(row.bound)) throw wrong('bound must be a finite number or null');
  if (row.ratio !== null && !Number.isFinite(row.ratio)) throw wrong('ratio must be a finite number or null');
  return row;
}

/** Runs one benchmark file. Rows that `only` does not select are left out. */
export async function runBench(job: BenchJob, send: (message: BenchMessage) => void): Promise<void> {
  const module = (await import(pathToFileURL(job.file).href)) as { default?: Bench };
  const bench = module.default;
  if (typeof bench?.prefix !== 'string' || typeof bench.run !== 'function') {
    throw new Error(`${job.file}: the default export must be { prefix, run }`);
  }
  if (!concerns(bench.prefix, job.only)) return send({ kind: 'passed-over', prefix: bench.prefix });
  await bench.run({
    quick: job.quick,
    workDir: job.workDir,
    report(row) {
      checkRow(row);
      if (job.only === null || within(row.name, job.only)) send({ kind: 'row', row });
    },
    progress: (text) => send({ kind: 'progress', text }),
  });
}
