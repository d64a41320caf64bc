import type { LogRequest, OutputChunk } from '@cloudos/sdk';
import type { Container } from 'dockerode';
import { engineError } from './engine.ts';

const newline = 0x0a;

/** How the engine counts time: seconds, with a fraction. */
const seconds = (epochMs: number) => (epochMs / 1000).toFixed(3);

/**
 * What a container has written. The engine multiplexes both streams: each frame has a head of 8 bytes, the first of which
 * names the stream and the last four its length (API reference, ContainerAttach, "Stream format").
 */
export async function* readLogs(container: Container, request: LogRequest): AsyncGenerator<OutputChunk> {
  const { follow = false, since, tailLines } = request;
  const ended = new AbortController();
  const stop = () => ended.abort();
  request.signal?.addEventListener('abort', stop, { once: true });
  if (request.signal?.aborted) stop();
  const range = since === undefined ? {} : { since: seconds(since) };
  try {
    if (tailLines === undefined) return yield* read(container, follow, range, ended.signal);
    // The engine counts last lines over both streams, so they are counted here. Half a microsecond beyond a
    // millisecond there is no line that both requests could bring.
    const now = `${seconds(Date.now())}0005`;
    yield* lastLines(read(container, false, { ...range, until: now }, ended.signal), tailLines);
    if (follow) yield* read(container, true, { since: now }, ended.signal);
  } finally {
    request.signal?.removeEventListener('abort', stop);
    stop();
  }
}

interface TimeRange {
  readonly since?: string;
  readonly until?: string;
}

async function* read(
  container: Container,
  follow: boolean,
  range: TimeRange,
  signal: AbortSignal,
): AsyncGenerator<OutputChunk> {
  // The types know of whole seconds only.
  const times = range as unknown as { since?: number; until?: number };
  const options = { stdout: true, stderr: true, ...times, abortSignal: signal };
  try {
    if (follow) yield* frames((await container.logs({ ...options, follow: true })) as AsyncIterable<Buffer>);
    else yield* frames([await container.logs({ ...options, follow: false })]);
  } catch (error) {
    if (!signal.aborted) throw engineError(error, `logs of ${container.id}`);
  }
}

/** The last lines of each stream. The engine keeps a bounded amount, which is what is gone through. */
async function* lastLines(source: AsyncIterable<OutputChunk>, count: number): AsyncGenerator<OutputChunk> {
  const streams = { stdout: new LastLines(count), stderr: new LastLines(count) };
  let frames = 0;
  for await (const { stream, data } of source) streams[stream].add({ stream, at: frames++, data: Buffer.from(data) });
  const kept = [...streams.stdout.frames(), ...streams.stderr.frames()].sort((one, other) => one.at - other.at);
  for (const { stream, data } of kept) yield { stream, data };
}

interface Frame extends OutputChunk {
  /** How many frames of both streams came before it. */
  readonly at: number;
}

/** The last lines of one stream, each of one frame, or of several where it is long: all but the last without a newline. */
class LastLines {
  readonly #count: number;
  #lines: Frame[][] = [];
  #isOpen = false;

  constructor(count: number) {
    this.#count = count;
  }

  add(frame: Frame): void {
    const open = this.#isOpen ? this.#lines.at(-1) : undefined;
    if (open) open.push(frame);
    else this.#lines.push([frame]);
    this.#isOpen = frame.data.at(-1) !== newline;
    // Not one by one: what is before the others would be moved each time.
    if (this.#lines.length > 2 * this.#count + 1_000) this.#lines = this.#last();
  }

  frames(): Frame[] {
    return this.#last().flat();
  }

  #last(): Frame[][] {
    return this.#count === 0 ? [] : this.#lines.slice(-this.#count);
  }
}

/** Cuts a multiplexed stream into its frames. */
export async function* frames(source: AsyncIterable<Buffer> | Iterable<Buffer>): AsyncGenerator<OutputChunk> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const data of source) {
    rest = rest.length === 0 ? data : Buffer.concat([rest, data]);
    for (;;) {
      if (rest.length < 8) break;
      const end = 8 + rest.readUInt32BE(4);
      if (rest.length < end) break;
      yield { stream: rest[0] === 2 ? 'stderr' : 'stdout', data: rest.subarray(8, end) };
      rest = rest.subarray(end);
    }
  }
}
