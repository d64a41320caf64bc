import type { FileHandle } from 'node:fs/promises';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EventFilter } from '@cloudos/client';
import { asCloudosError, CloudosError } from '@cloudos/sdk';
import { replaceFile } from '../../access/replace-file.ts';

/** What is kept of a named subscription. */
export interface SubscriptionRecord {
  readonly name: string;
  /** Id of the principal whose it is. */
  readonly owner: string;
  readonly filter: EventFilter;
  /** Everything that it selects up to this position was acknowledged. */
  readonly cursor: number;
  /** Epoch milliseconds. */
  readonly createdAt: number;
}

type Line = SubscriptionRecord | { readonly name: string; readonly deleted: true };

/** Lines that are appended before the file is written anew. */
const linesMax = 10_000;

/**
 * Keeps the cursors of named subscriptions: a file of JSON lines, of which the last one about a name counts. What was put
 * is on disk when the promise resolves; puts that wait for the disk share one `fdatasync`. A last line that a crash has
 * cut off was never acknowledged and is dropped.
 */
export class SubscriptionStore {
  readonly #file: string;
  readonly #records: Map<string, SubscriptionRecord>;
  #handle: FileHandle | undefined;
  #lines = 0;
  #waiting: { line: string; resolve: () => void; reject: (error: unknown) => void }[] = [];
  #writing: Promise<void> | undefined;

  private constructor(file: string, records: Map<string, SubscriptionRecord>) {
    this.#file = file;
    this.#records = records;
  }

  /** @throws CloudosError SUBSCRIPTIONS_DAMAGED when a line but the last cannot be read */
  static async open(directory: string): Promise<SubscriptionStore> {
    const file = join(directory, 'subscriptions.jsonl');
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw asCloudosError(error, 'PERMISSION_DENIED', `${file} cannot be read`);
    });
    return new SubscriptionStore(file, parse(text, file));
  }

  get(name: string): SubscriptionRecord | undefined {
    return this.#records.get(name);
  }

  list(): readonly SubscriptionRecord[] {
    return [...this.#records.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  }

  put(record: SubscriptionRecord): Promise<void> {
    this.#records.set(record.name, record);
    return this.#append(record);
  }

  delete(name: string): Promise<void> {
    this.#records.delete(name);
    return this.#append({ name, deleted: true });
  }

  /** Waits for what is being written. */
  async close(): Promise<void> {
    await this.#writing?.catch(() => {});
    await this.#handle?.close();
    this.#handle = undefined;
  }

  #append(line: Line): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ line: `${JSON.stringify(line)}\n`, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        if (!this.#handle || this.#lines >= linesMax) await this.#rewrite();
        else {
          await this.#handle.appendFile(batch.map(({ line }) => line).join(''));
          await this.#handle.datasync();
          this.#lines += batch.length;
        }
        for (const { resolve } of batch) resolve();
      } catch (error) {
        // What is in the file now is not known: the next put writes all of it anew.
        await this.#handle?.close().catch(() => {});
        this.#handle = undefined;
        for (const { reject } of batch)
          reject(asCloudosError(error, 'PERMISSION_DENIED', `${this.#file} cannot be written`));
      }
    }
    // In the same turn as the look at what waits: nothing can come in between and be left behind.
    this.#writing = undefined;
  }

  async #rewrite(): Promise<void> {
    await this.#handle?.close();
    this.#handle = undefined;
    await replaceFile(
      this.#file,
      this.list()
        .map((record) => `${JSON.stringify(record)}\n`)
        .join(''),
    );
    this.#handle = await open(this.#file, 'a', 0o600);
    this.#lines = 0;
  }
}

function parse(text: string, file: string): Map<string, SubscriptionRecord> {
  const records = new Map<string, SubscriptionRecord>();
  const lines = text.split('\n');
  // What follows the last line break was cut off.
  for (const [at, line] of lines.slice(0, -1).entries()) {
    let parsed: Line;
    try {
      parsed = JSON.parse(line) as Line;
    } catch (error) {
      throw new CloudosError('SUBSCRIPTIONS_DAMAGED', `${file}: line ${at + 1} is not what was written`, {
        cause: error,
      });
    }
    if ('deleted' in parsed) records.delete(parsed.name);
    else records.set(parsed.name, parsed);
  }
  return records;
}
