export type { Bench, BenchOptions, BenchRow } from './bench/bench.ts';
