import { request } from 'node:http';
import path from 'node:path';
import { pluginContext } from '@cloudos/conformance';
import { ImageStore } from '@cloudos/images';
import { type GuestDriver, type GuestSpec, guestTemplate, type PluginDefinition } from '@cloudos/sdk';
import { firstValueFrom } from 'rxjs';
import type { BenchOptions, BenchRow } from './bench.ts';
import { median } from './figures.ts';
import { driverShare, mayAddWords, mostWithTool } from './guest-share.ts';

const answerMaxMs = 30_000;
const fullRounds = 20;
const quickRounds = 3;
/** After as long no further round of a subject is begun, so that a run of it stays under three minutes. */
const roundsMaxMs = 100_000;
const leastRounds = 3;

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

/** What a tool took for the same, from its first step. */
export interface ToolRound {
  /** Until it returned, as the guest ran. Absent: the tool does not tell (QEMU). */
  readonly startMs?: number;
  readonly answerMs: number;
  readonly memoryMb?: number;
}

/** A tool that runs the same image without the plugin. */
export interface Tool {
  /** In the names of rows: `<subject>.beside-<name>.start`. */
  readonly name: string;
  /** Runs one guest, asks it, and removes it, in the daemon of the driver where there is one. */
  readonly round: (place: Place, round: number) => Promise<ToolRound>;
  /** Why it cannot run here, and the command that provides it. */
  readonly missing?: string | undefined;
}

/** What is measured, and what it is held against. */
export interface Subject {
  readonly name: string;
  readonly config: unknown;
  /** Default `counter:1`, with the program that it has. */
  readonly image?: string;
  readonly command?: readonly string[];
  readonly limits?: Partial<GuestSpec['template']['limits']>;
  readonly prepare: (store: ImageStore) => Promise<unknown>;
  /** Tools beside it, in turns. The first is what the runtime does without the plugin: by it the plugin's share is judged. */
  readonly tools?: readonly Tool[];
  /** Aims in milliseconds; absent: what a plugin may add to the first of the tools. */
  readonly startMaxMs?: number;
  readonly answerMaxMs?: number | undefined;
  /** Default {@link roundsMaxMs}. */
  readonly roundsMaxMs?: number;
  /** Further figures of the same driver, when all rounds are done. */
  readonly after?: (driver: GuestDriver, place: Place) => Promise<void>;
}

/** From `create` to running, to the first HTTP answer, and memory on the host; beside tools, in turns. */
export async function measureGuests<Config>(
  options: BenchOptions,
  plugin: PluginDefinition<'guest', Config>,
  subject: Subject,
): Promise<void> {
  const { workDir, progress } = options;
  const directory = path.join(workDir, subject.name);
  const place = {
    dataDir: path.join(directory, 'data'),
    stateDir: path.join(directory, 'state'),
    store: ImageStore.of(path.join(directory, 'state')),
  };
  await subject.prepare(place.store);
  const context = await pluginContext({ node: { id: 'bench' }, dataDir: place.dataDir, stateDir: place.stateDir });
  const driver = await plugin.create(context, plugin.config.parse(subject.config));
  try {
    const print = await firstValueFrom(driver.fingerprint());
    if (!print.available) return progress(`${subject.name} passed over: ${print.reason} (${print.remedy})`);
    const taken = await takeRounds(options, driver, subject, place);
    reportRounds(options, subject, taken);
    await subject.after?.(driver, place);
  } finally {
    await driver.purge();
    await context.scope.close();
  }
}

interface Taken {
  readonly rounds: readonly Round[];
  readonly tools: readonly { readonly tool: Tool; readonly rounds: readonly ToolRound[] }[];
}

async function takeRounds(
  { quick, progress }: BenchOptions,
  driver: GuestDriver,
  subject: Subject,
  place: Place,
): Promise<Taken> {
  const rounds: Round[] = [];
  const tools = [];
  for (const tool of subject.tools ?? []) {
    if (tool.missing === undefined) tools.push({ tool, rounds: [] as ToolRound[] });
    else progress(`${subject.name} without ${tool.name}: ${tool.missing}`);
  }
  await round(driver, subject, 'first'); // what is made once for each image
  for (const { tool } of tools) await tool.round(place, -1);
  const deadline = performance.now() + (subject.roundsMaxMs ?? roundsMaxMs);
  for (let index = 0; index < (quick ? quickRounds : fullRounds); index++) {
    if (index >= leastRounds && performance.now() > deadline) {
      progress(`${subject.name}: time is over after ${index} rounds`);
      break;
    }
    progress(`${subject.name}, round ${index + 1}`);
    const turns = [
      async () => rounds.push(await round(driver, subject, `r${index}`)),
      ...tools.map((one) => async () => one.rounds.push(await one.tool.round(place, index))),
    ];
    // Each is first in turn: what one leaves for the machine to do does not always fall on the same other.
    const first = index % turns.length;
    for (const turn of [...turns.slice(first), ...turns.slice(0, first)]) await turn();
  }
  return { rounds, tools };
}

function reportRounds({ report, progress }: BenchOptions, subject: Subject, { rounds, tools }: Taken): void {
  const middle = (values: readonly (number | undefined)[]) => {
    const known = values.filter((value) => value !== undefined);
    return known.length > 0 ? median(known) : undefined;
  };
  const [judge, ...others] = tools;
  for (const what of ['start', 'answer'] as const) {
    const key = `${what}Ms` as const;
    const value = median(rounds.map((one) => one[key]));
    const bound = middle((judge?.rounds ?? []).map((one) => one[key]));
    const maxMs = what === 'start' ? subject.startMaxMs : subject.answerMaxMs;
    const most = maxMs ?? (bound === undefined ? undefined : mostWithTool(bound));
    const words = maxMs === undefined ? `${mayAddWords} over the tool` : `<= ${maxMs} ms`;
    const verdict = { target: most === undefined ? 'reported' : words, met: most === undefined ? null : value <= most };
    report({ name: `${subject.name}.${what}`, value, unit: 'ms', ...beside(value, bound), ...verdict });
    if (bound !== undefined && judge) {
      report(driverShare(`${subject.name}.driver-share.${what}`, value, bound, judge.tool.name));
    }
    for (const { tool, rounds: theirs } of others) {
      const other = middle(theirs.map((one) => one[key]));
      if (other === undefined) continue;
      const name = `${subject.name}.beside-${tool.name}.${what}`;
      report({ name, value, unit: 'ms', ...beside(value, other), target: 'reported', met: null });
    }
  }
  const memory = median(rounds.map(({ memoryMb }) => memoryMb));
  const theirs = middle((judge?.rounds ?? []).map(({ memoryMb }) => memoryMb));
  const row = { name: `${subject.name}.memory`, value: memory, unit: 'MB', target: 'reported', met: null };
  report({ ...row, ...beside(memory, theirs) });
  if (judge) progress(`${subject.name}: medians of ${rounds.length} rounds, the tool is ${judge.tool.name}`);
}

function beside(value: number, bound: number | undefined): Pick<BenchRow, 'bound' | 'ratio'> {
  return bound === undefined ? { bound: null, ratio: null } : { bound, ratio: value / bound };
}

async function round(driver: GuestDriver, subject: Subject, instance: string): Promise<Round> {
  const { image = 'counter:1', command, limits = {} } = subject;
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
