import { type BenchJob, runBench } from './child.ts';

// Entry point of the child process: `node main.js <BenchJob as JSON>`, with an IPC channel to the harness.
const job = JSON.parse(process.argv[2] ?? '{}') as BenchJob;
runBench(job, (message) => process.send?.(message)).then(
  () => process.disconnect?.(),
  (error: unknown) => {
    console.error(error);
    process.exitCode = 1;
    process.disconnect?.();
  },
);
