import { readFileSync } from 'node:fs';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { GuestSpec } from '@cloudos/sdk';
import { guestName } from './guest-name.ts';

/**
 * What a driver writes down about its guests: a file for each in one directory, replaced whole, for nobody else to read.
 * A crash leaves the record before or the one after.
 */
export class GuestRecords<Entry extends { readonly spec: GuestSpec }> {
  readonly #directory: string;

  constructor(directory: string) {
    this.#directory = directory;
  }

  get(instance: string): Entry | undefined {
    return this.#read(fileOf(instance));
  }

  async save<Saved extends Entry>(record: Saved): Promise<Saved> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 });
    const path = join(this.#directory, fileOf(record.spec.instance));
    await writeFile(`${path}.tmp`, JSON.stringify(record), { mode: 0o600 });
    await rename(`${path}.tmp`, path);
    return record;
  }

  /** Absent already: no error. */
  async remove(instance: string): Promise<void> {
    await rm(join(this.#directory, fileOf(instance)), { force: true });
  }

  /** Every record, in the order of names. */
  async all(): Promise<Entry[]> {
    const names = await readdir(this.#directory).catch(() => []);
    return names
      .filter((name) => name.endsWith('.json'))
      .sort()
      .flatMap((name) => this.#read(name) ?? []);
  }

  #read(name: string): Entry | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#directory, name), 'utf8')) as Entry;
    } catch {
      return undefined;
    }
  }
}

function fileOf(instance: string): string {
  return `${guestName(instance)}.json`;
}
