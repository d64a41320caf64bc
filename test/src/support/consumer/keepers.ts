import { type FileHandle, open, readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { RecordedEvent } from '@cloudos/sdk';
import { sumOf } from '../trust/verdict.ts';

/** What took effect: position and sum of each event, in the order in which they did. */
export type Effects = readonly (readonly [position: number, sum: number])[];

/** Lets events take effect in a file, and stores the position up to which they have. */
export interface Keeper {
  load(): Promise<number | undefined>;
  keep(events: readonly RecordedEvent[], position: number): Promise<void>;
}

/** Between the two of those that are apart: a kill need not be aimed to come in between. */
const apartMs = 3;

/**
 * How a program may keep its position: together with the effect, as it should be, in one line that counts when it is
 * whole; or apart from it, either of the two first, which a crash in between finds out.
 */
export const keepers = {
  together: async (directory) => {
    const effects = await Lines.open(directory);
    return {
      load: async () => (JSON.parse((await effects.whole()).at(-1) ?? '{}') as { position?: number }).position,
      keep: (events, position) => effects.add({ position, effects: effectsOf(events) }),
    };
  },
  'effect first': async (directory) => {
    const effects = await Lines.open(directory);
    return {
      load: () => positionIn(directory),
      keep: async (events, position) => {
        await effects.add({ effects: effectsOf(events) });
        await pause(apartMs);
        await storePosition(directory, position);
      },
    };
  },
  'position first': async (directory) => {
    const effects = await Lines.open(directory);
    return {
      load: () => positionIn(directory),
      keep: async (events, position) => {
        await storePosition(directory, position);
        await pause(apartMs);
        await effects.add({ effects: effectsOf(events) });
      },
    };
  },
} as const satisfies Readonly<Record<string, (directory: string) => Promise<Keeper>>>;
export type Keeping = keyof typeof keepers;

/** All that took effect, and the last position that was stored. */
export async function keptIn(directory: string, keeping: Keeping): Promise<{ position: number; effects: Effects }> {
  const lines = (await wholeLines(join(directory, effectsFile))).map(
    (line) => JSON.parse(line) as { position?: number; effects: Effects },
  );
  const position = keeping === 'together' ? lines.at(-1)?.position : await positionIn(directory);
  return { position: position ?? -1, effects: lines.flatMap(({ effects }) => effects) };
}

function effectsOf(events: readonly RecordedEvent[]): Effects {
  return events.map((event) => [event.position, sumOf(event)]);
}

const effectsFile = 'effects.jsonl';

/** What follows the last line break was cut off. */
async function wholeLines(file: string): Promise<string[]> {
  const text = await readFile(file, 'utf8').catch(() => '');
  return text.split('\n').slice(0, -1);
}

/** A file of lines. One that a kill has cut off is none: it goes before the next is written. */
class Lines {
  readonly #file: string;
  readonly #handle: FileHandle;

  private constructor(file: string, handle: FileHandle) {
    this.#file = file;
    this.#handle = handle;
  }

  static async open(directory: string): Promise<Lines> {
    const file = join(directory, effectsFile);
    const handle = await open(file, 'a');
    const bytes = await readFile(file);
    await truncate(file, bytes.lastIndexOf('\n') + 1);
    return new Lines(file, handle);
  }

  whole(): Promise<string[]> {
    return wholeLines(this.#file);
  }

  async add(line: object): Promise<void> {
    await this.#handle.appendFile(`${JSON.stringify(line)}\n`);
    await this.#handle.datasync();
  }
}

async function positionIn(directory: string): Promise<number | undefined> {
  const text = await readFile(join(directory, 'position'), 'utf8').catch(() => undefined);
  return text === undefined ? undefined : Number(text);
}

async function storePosition(directory: string, position: number): Promise<void> {
  await writeFile(join(directory, 'position.new'), String(position));
  await rename(join(directory, 'position.new'), join(directory, 'position'));
}
