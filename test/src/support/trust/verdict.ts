import { crc32 } from 'node:zlib';
import type { RecordedEvent } from '@cloudos/sdk';

/** Unsigned 32-bit numbers, four bytes each: a thousand subscribers keep ten thousand of them. */
export class Numbers {
  #values = new Uint32Array(256);
  length = 0;

  push(value: number): void {
    if (this.length === this.#values.length) {
      const larger = new Uint32Array(this.length * 2);
      larger.set(this.#values);
      this.#values = larger;
    }
    this.#values[this.length++] = value;
  }

  at(index: number): number {
    return this.#values[index] as number;
  }

  last(): number | undefined {
    return this.length === 0 ? undefined : this.at(this.length - 1);
  }
}

/** A sum of all that an event says. */
export function sumOf({ position, stream, revision, id, type, time, data, meta }: RecordedEvent): number {
  const { schema, producer, causation, correlation, traceparent } = meta;
  const about = [schema, producer.plugin, producer.generation, causation, correlation, traceparent];
  return crc32(JSON.stringify([position, stream, revision, id, type, time, data, about]));
}

/** What is wrong with what a subscriber got, in events. */
export interface Verdict {
  /** Selected by its filter and never told. */
  readonly lost: number;
  /** Told once more. */
  readonly twice: number;
  /** Told behind a later one. */
  readonly disordered: number;
  /** Not what its filter selects. */
  readonly foreign: number;
  /** Not what the log says at that position. */
  readonly changed: number;
  /** The first of them, in words. */
  readonly first: string | undefined;
}

/**
 * Holds what a subscriber got against the log.
 * @param got positions in the order in which they came
 * @param said the sum of each
 * @param wanted positions that its filter selects, in order
 * @param sums of the log, by position
 */
export function verdictOf(got: Numbers, said: Numbers, wanted: readonly number[], sums: Uint32Array): Verdict {
  const counts = { lost: 0, twice: 0, disordered: 0, foreign: 0, changed: 0 };
  let first: string | undefined;
  const find = (what: keyof typeof counts, position: number) => {
    counts[what]++;
    first ??= `${position} is ${what}`;
  };
  const selected = new Set(wanted);
  const seen = new Set<number>();
  let highest = -1;
  for (let index = 0; index < got.length; index++) {
    const position = got.at(index);
    if (seen.has(position)) find('twice', position);
    else if (position < highest) find('disordered', position);
    if (!selected.has(position)) find('foreign', position);
    if (said.at(index) !== sums[position]) find('changed', position);
    seen.add(position);
    highest = Math.max(highest, position);
  }
  for (const position of wanted) if (!seen.has(position)) find('lost', position);
  return { ...counts, first };
}
