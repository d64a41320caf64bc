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
}

/**
 * The test that nothing is lost, told twice or out of order (test/src/subscribers.int.spec.ts), at full size: random
 * filters, disconnects and pauses, a server that is killed four times, its reader swapped, each subscriber's events held
 * against the log. It fails where the test does; the row tells how many deliveries were compared.
 */
export async function trustRows({ quick, workDir, report, progress }: BenchOptions): Promise<void> {
  const count = quick ? 40 : 1_000;
  const file = join(workDir, 'trust.json');
  progress(`subscribers.trust: ${count} subscribers`);
  await run(count, file);
  const { told, kills, events, seed } = JSON.parse(readFileSync(file, 'utf8')) as Report;
  progress(`subscribers.trust: ${events} events, ${kills} kills, seed ${seed}`);
  report({
    name: `subscribers.trust.${count}`,
    value: told,
    unit: 'deliveries',
    bound: null,
    ratio: null,
    target: 'none lost, none twice, all in order',
    met: true,
  });
}

function run(subscribers: number, file: string): Promise<void> {
  const vitest = join(root, 'node_modules/vitest/vitest.mjs');
  const env = { ...process.env, CLOUDOS_SUBSCRIBERS: String(subscribers), CLOUDOS_REPORT: file, NO_COLOR: '1' };
  const child = spawn(process.execPath, [vitest, 'run', 'src/subscribers.int.spec.ts'], {
    cwd: join(root, 'test'),
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text: Buffer) => {
      output = (output + text.toString()).slice(-4_000);
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => (code === 0 ? resolve() : reject(new Error(`the test failed:\n${output}`))));
  });
}
