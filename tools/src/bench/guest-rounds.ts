import { request } from 'node:http';
import path from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { type GuestDriver, type GuestSpec, guestTemplate, type PluginDefinition } from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import type { BenchOptions } from './bench.ts';
import { median } from './figures.ts';

const answerMaxMs = 30_000;
/** What a plugin may add to the tool of its runtime: as many milliseconds, or that share of it, whichever is more. */
const addedMs = 25;
const addedShare = 0.15;

/** What one round of a guest took, from the call of `create`. */
interface Round {
  readonly startMs: number;
  readonly answerMs: number;
  readonly memoryMb: number;
}

/** Where the driver of a subject keeps its things. */
export interface Place {
  readonly dataDir: string;
  readonly stateDir: string;
  readonly store: ImageStore;
}

/** What the tool of the runtime took for the same, by hand, beside each round. */
export interface ToolRound {
  /** Until it returned, as the guest ran. */
  readonly startMs: number;
  readonly answerMs: number;
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
  /**
   * Runs the same image by the tool of the runtime, in the daemon of the driver, and removes it. May a plugin add as much as
   * {@link addedMs}?
   */
  readonly tool?: (place: Place, round: number) => Promise<ToolRound>;
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
  const place = {
    dataDir: path.join(directory, 'data'),
    stateDir: path.join(directory, 'state'),
    store: ImageStore.of(path.join(directory, 'state')),
  };
  await subject.prepare(place.store);
  const context = await pluginContext({ node: { id: 'bench' }, dataDir: place.dataDir, stateDir: place.stateDir });
  const driver = await plugin.create(context, plugin.config.parse(subject.config));
  const rounds: Round[] = [];
  const bare: number[] = [];
  const tool: ToolRound[] = [];
  try {
    const print = await firstValueFrom(driver.fingerprint());
    if (!print.available) return progress(`${subject.name} passed over: ${print.reason} (${print.remedy})`);
    await round(driver, subject, 'first'); // what is made once for each image
    await subject.tool?.(place, -1);
    for (let index = 0; index < (quick ? 3 : 20); index++) {
      progress(`${subject.name}, round ${index + 1}`);
      if (subject.bare) bare.push(await subject.bare());
      // In turns, each first every other time: what one leaves for the machine to do does not always fall on the other.
      if (index % 2 === 0 && subject.tool) tool.push(await subject.tool(place, index));
      rounds.push(await round(driver, subject, `r${index}`));
      if (index % 2 === 1 && subject.tool) tool.push(await subject.tool(place, index));
    }
  } finally {
    await driver.purge();
    await context.scope.close();
  }
  const row = (name: string, value: number, bounds: readonly number[], maxMs: number | undefined) => {
    const bound = bounds.length > 0 ? median(bounds) : null;
    const ratio = bound === null ? null : value / bound;
    const beside = tool.length > 0 && bound !== null ? bound + Math.max(addedMs, addedShare * bound) : undefined;
    const most = maxMs ?? beside;
    const words = maxMs === undefined ? `<= ${addedMs} ms or ${100 * addedShare} % over the tool` : `<= ${maxMs} ms`;
    const target = most === undefined ? 'reported' : words;
    report({
      name: `${subject.name}.${name}`,
      value,
      unit: 'ms',
      bound,
      ratio,
      target,
      met: most === undefined ? null : value <= most,
    });
  };
  const toolStarts = tool.map(({ startMs }) => startMs);
  const toolAnswers = tool.map(({ answerMs }) => answerMs);
  row('start', median(rounds.map(({ startMs }) => startMs)), toolStarts, subject.startMaxMs);
  row('answer', median(rounds.map(({ answerMs }) => answerMs)), [...bare, ...toolAnswers], subject.answerMaxMs);
  const memory = median(rounds.map(({ memoryMb }) => memoryMb));
  const plain = { bound: null, ratio: null, target: 'reported', met: null };
  report({ name: `${subject.name}.memory`, value: memory, unit: 'MB', ...plain });
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
