import { request } from 'node:http';
import path from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { type GuestDriver, type GuestSpec, guestTemplate, type PluginDefinition } from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import type { BenchOptions } from './bench.ts';
import { median } from './figures.ts';

const answerMaxMs = 30_000;

/** What one round of a guest took, from the call of `create`. */
interface Round {
  readonly startMs: number;
  readonly answerMs: number;
  readonly memoryMb: number;
}

/** What is measured, and what it is held against. */
export interface Subject {
  readonly name: string;
  readonly config: unknown;
  /** Default `counter:1`, with the program that it has. */
  readonly image?: string;
  readonly command?: readonly string[];
  readonly prepare: (store: ImageStore) => Promise<unknown>;
  readonly bare?: () => Promise<number>;
  readonly startMaxMs?: number;
  readonly answerMaxMs?: number | undefined;
}

/** From `create` to running, to the first HTTP answer, and memory on the host; beside the bare tool, in turns. */
export async function measureGuests<Config>(
  { quick, workDir, progress, report }: BenchOptions,
  plugin: PluginDefinition<'guest', Config>,
  subject: Subject,
): Promise<void> {
  const directory = path.join(workDir, subject.name);
  const stateDir = path.join(directory, 'state');
  await subject.prepare(ImageStore.of(stateDir));
  const context = await pluginContext({ node: { id: 'bench' }, dataDir: path.join(directory, 'data'), stateDir });
  const driver = await plugin.create(context, plugin.config.parse(subject.config));
  const rounds: Round[] = [];
  const bare: number[] = [];
  try {
    const print = await firstValueFrom(driver.fingerprint());
    if (!print.available) return progress(`${subject.name} passed over: ${print.reason} (${print.remedy})`);
    await round(driver, subject, 'first'); // what is made once for each image
    for (let index = 0; index < (quick ? 3 : 20); index++) {
      progress(`${subject.name}, round ${index + 1}`);
      if (subject.bare) bare.push(await subject.bare());
      rounds.push(await round(driver, subject, `r${index}`));
    }
  } finally {
    await driver.purge();
    await context.scope.close();
  }
  const start = median(rounds.map(({ startMs }) => startMs));
  const answer = median(rounds.map(({ answerMs }) => answerMs));
  const bound = bare.length > 0 ? median(bare) : null;
  const limit = (ms: number | undefined, value: number) => ({
    target: ms === undefined ? 'reported' : `<= ${ms} ms`,
    met: ms === undefined ? null : value <= ms,
  });
  const none = { bound: null, ratio: null };
  report({ name: `${subject.name}.start`, value: start, unit: 'ms', ...none, ...limit(subject.startMaxMs, start) });
  report({
    name: `${subject.name}.answer`,
    value: answer,
    unit: 'ms',
    bound,
    ratio: bound === null ? null : answer / bound,
    ...limit(subject.answerMaxMs, answer),
  });
  const memory = median(rounds.map(({ memoryMb }) => memoryMb));
  report({ name: `${subject.name}.memory`, value: memory, unit: 'MB', ...none, ...limit(undefined, memory) });
}

async function round(driver: GuestDriver, { image = 'counter:1', command }: Subject, instance: string): Promise<Round> {
  const limits = {};
  const template = guestTemplate.parse({ image, command, ports: [{ port: 80 }], requests: {}, limits });
  const spec: GuestSpec = { instance, workload: 'default/bench', node: 'bench', template };
  const begun = performance.now();
  await driver.create(spec);
  const { address } = await driver.start(instance, 1);
  const startMs = performance.now() - begun;
  await firstAnswer(address?.host ?? '127.0.0.1', address?.ports?.['80'] ?? 80);
  const answerMs = performance.now() - begun;
  const { memoryBytes = 0 } = await driver.stats(instance);
  await driver.remove(instance);
  return { startMs, answerMs, memoryMb: memoryBytes / 1e6 };
}

/** Asks until something answers. */
export async function firstAnswer(host: string, port: number): Promise<void> {
  const deadline = performance.now() + answerMaxMs;
  while (performance.now() < deadline) {
    const answered = await new Promise<boolean>((resolve) => {
      const sent = request({ host, port, agent: false, timeout: 500 }, (response) => {
        response.resume();
        response.on('end', () => resolve(true));
      });
      sent.on('error', () => resolve(false));
      sent.on('timeout', () => sent.destroy());
      sent.end();
    });
    if (answered) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`no answer in ${answerMaxMs} ms from ${host}:${port}`);
}
