import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BenchOptions } from '../bench.ts';

const root = fileURLToPath(new URL('../../../../', import.meta.url));

/** What the test found, once it has passed. */
interface Report {
  readonly seed: number;
  readonly kills: number;
  readonly subscribers: number;
  readonly events: number;
  readonly told: number;
  readonly connections: number;
  readonly seconds: number;
  readonly peakRssBytes: number;
}

/**
 * The test that nothing is lost, told twice or out of order (test/src/subscribers.int.spec.ts), at full size: random
 * filters and forms, disconnects and pauses, a server that is killed four times, its reader swapped, each subscriber's
 * events held against the log. It fails where the test does, naming each subscriber with which something is wrong; the rows
 * tell how many deliveries were compared, and how long all of it took.
 */
export async function trustRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const count = quick ? 40 : 1_000;
  const file = join(workDir, 'trust.json');
  progress(`subscribers.trust: ${count} subscribers`);
  await run(count, file, progress);
  const { told, kills, events, seed, connections, seconds, peakRssBytes } = JSON.parse(
    readFileSync(file, 'utf8'),
  ) as Report;
  progress(
    `subscribers.trust: seed ${seed}, ${events} events, ${kills} kills, ${connections} connections, ${Math.round(peakRssBytes / 2 ** 20)} MiB a process at most`,
  );
  const row = { name: `subscribers.trust.${count}`, bound: null, ratio: null };
  report({ ...row, value: told, unit: 'deliveries', target: 'none lost, none twice, all in order', met: true });
  const target = 'reported, until each was held against the log';
  report({ ...row, name: `${row.name}.duration`, value: seconds, unit: 's', target, met: null });
}

function run(subscribers: number, file: string, progress: (text: string) => void): Promise<void> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const env = { ...process.env, CLOUDOS_SUBSCRIBERS: String(subscribers), CLOUDOS_REPORT: file, NO_COLOR: '1' };
  const child = spawn(process.execPath, [vitest, 'run', 'src/subscribers.int.spec.ts', '-t', 'loses nothing'], {
    cwd: join(root, 'test'),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text: Buffer) => {
      for (const line of text.toString().split('\n')) if (line.startsWith('round ')) progress(line);
      output = (output + text.toString()).slice(-16_000);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`the test failed:\n${output}`))));
  });
}
