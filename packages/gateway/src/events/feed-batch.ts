import type { CloudEventWriter } from '@cloudos/client';
import type { RecordedEvent } from '@cloudos/sdk';
import { type EncodingName, type Framed, frameEvents } from './encoding.ts';
import { type Chunk, chunkMaxBytes } from './feed-group.ts';

/** Events that were appended together. Each is written and framed once, for however many groups want it. */
export class FeedBatch {
  readonly events: readonly RecordedEvent[];
  readonly first: number;
  readonly last: number;
  readonly #writer: CloudEventWriter;
  #texts: readonly string[] | undefined;
  readonly #framed = new Map<EncodingName, Framed>();

  /** @param first where the positions begin that the batch covers, which may be before its first event */
  constructor(events: readonly RecordedEvent[], writer: CloudEventWriter, first?: number, last?: number) {
    this.events = events;
    this.#writer = writer;
    this.first = first ?? (events[0] as RecordedEvent).position;
    this.last = last ?? (events.at(-1) as RecordedEvent).position;
  }

  /** The selected events (default: all) in an encoding, cut where a chunk would become too large. */
  chunks(encoding: EncodingName, selected: readonly number[] | undefined): Chunk[] {
    const framed = this.#all(encoding);
    return selected ? this.#copied(framed, selected) : this.#cut(framed);
  }

  #all(encoding: EncodingName): Framed {
    let framed = this.#framed.get(encoding);
    if (!framed) {
      this.#texts ??= this.events.map((event) => this.#writer.write(event));
      framed = frameEvents(encoding, this.events, this.#texts);
      this.#framed.set(encoding, framed);
    }
    return framed;
  }

  #cut({ bytes, ends }: Framed): Chunk[] {
    const chunks: Chunk[] = [];
    let begin = 0;
    for (let index = 0; index < ends.length; index++) {
      const from = begin === 0 ? 0 : (ends[begin - 1] as number);
      const isLast = index === ends.length - 1;
      if (!isLast && (ends[index + 1] as number) - from <= chunkMaxBytes) continue;
      chunks.push({
        first: chunks.length === 0 ? this.first : (this.events[begin] as RecordedEvent).position,
        last: isLast ? this.last : (this.events[index + 1] as RecordedEvent).position - 1,
        count: index - begin + 1,
        bytes: bytes.subarray(from, ends[index]),
        structures: 0,
      });
      begin = index + 1;
    }
    return chunks;
  }

  #copied({ bytes, ends }: Framed, selected: readonly number[]): Chunk[] {
    const chunks: Chunk[] = [];
    let parts: Buffer[] = [];
    let size = 0;
    let { first } = this;
    for (let at = 0; at < selected.length; at++) {
      const index = selected[at] as number;
      const part = bytes.subarray(index === 0 ? 0 : ends[index - 1], ends[index]);
      parts.push(part);
      size += part.length;
      const next = selected[at + 1];
      if (next !== undefined && size + part.length <= chunkMaxBytes) continue;
      const last = next === undefined ? this.last : (this.events[next] as RecordedEvent).position - 1;
      chunks.push({ first, last, count: parts.length, bytes: Buffer.concat(parts, size), structures: 0 });
      first = last + 1;
      parts = [];
      size = 0;
    }
    return chunks;
  }
}
