import type { LogRequest, OutputChunk } from '@cloudos/sdk';
import type { Container } from 'dockerode';
import { engineError } from './engine.ts';

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
  const lines: { stream: OutputChunk['stream']; text: Buffer }[] = [];
  const kept = { stdout: 0, stderr: 0 };
  // The engine keeps lines: each frame is one, or a part of a very long one.
  for await (const { stream, data } of source) {
    lines.push({ stream, text: Buffer.from(data) });
    if (++kept[stream] <= count) continue;
    lines.splice(
      lines.findIndex((line) => line.stream === stream),
      1,
    );
    kept[stream]--;
  }
  for (const { stream, text } of lines) yield { stream, data: text };
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
