/** One measured figure beside its bound, both from the same run. */
export interface BenchRow {
  /** Dotted: `<prefix>.<figure>[.<variant>]`, as `log.append.throughput.1024`. */
  name: string;
  value: number;
  /** Unit of `value` and of `bound`: `events/s`, `ms`, `MB`, `%`. */
  unit: string;
  /** What the machine gives at best for the same work, measured in the same run. Null: none applies. */
  bound: number | null;
  /** `value / bound`. Null without a bound. */
  ratio: number | null;
  /** What is to be reached, in words: `>= 0.85 of the bound`. */
  target: string;
  /** Whether it is. Null: the figure is only reported. */
  met: boolean | null;
}

export interface BenchOptions {
  /** Fewer and smaller rounds: a smoke test of the benchmark, not a measurement. */
  quick: boolean;
  /** An empty directory on a real disk, removed afterwards. */
  workDir: string;
  /** Hands in one finished figure. May be called several times. */
  report(row: BenchRow): void;
  /** Says what is being measured now. */
  progress(text: string): void;
}

/**
 * The default export of every `*.bench.ts` in this folder. Each runs in a process of its own, for a bounded time;
 * a failure is reported and the others go on.
 */
export interface Bench {
  /** What `--only` selects by: `log`, `kernel`, `cluster`, `guest`. */
  prefix: string;
  run(options: BenchOptions): Promise<void>;
}
