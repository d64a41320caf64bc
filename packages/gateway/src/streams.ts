import type { DownLine, LogLine } from '@cloudos/client';
import type { Kernel } from '@cloudos/kernel';
import type { LogRequest, OutputChunk } from '@cloudos/sdk';
import { errorBodyOf } from './error-response.ts';

/** How long the beginning of a log may take before the answer starts without knowing whether it will fail. */
const firstChunkWaitMs = 250;

export const ndjson = 'application/x-ndjson';

/**
 * Output of a guest as an answer: JSON lines that tell the streams apart, or the plain bytes.
 * @param onLeft called when the client leaves before the end
 */
export async function logsResponse(
  kernel: Kernel,
  instance: string,
  request: { container?: string | undefined; follow: boolean; tail?: number | undefined; since?: number | undefined },
  form: 'lines' | 'bytes',
  onLeft: () => void,
): Promise<Response> {
  const ended = new AbortController();
  const logRequest: LogRequest = {
    follow: request.follow,
    signal: ended.signal,
    ...(request.container === undefined ? {} : { container: request.container }),
    ...(request.tail === undefined ? {} : { tailLines: request.tail }),
    ...(request.since === undefined ? {} : { since: request.since }),
  };
  const chunks = kernel.logs(instance, logRequest)[Symbol.asyncIterator]();
  let first: Promise<IteratorResult<OutputChunk>> | undefined = chunks.next();
  await failsSoon(first);
  const encode = form === 'lines' ? encodeLine : (chunk: OutputChunk) => chunk.data;
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        try {
          const step = await (first ?? chunks.next());
          first = undefined;
          if (step.done) controller.close();
          else controller.enqueue(encode(step.value));
        } catch (error) {
          if (form === 'bytes') return controller.error(error);
          controller.enqueue(line<LogLine>({ error: errorBodyOf(error) }));
          controller.close();
        }
      },
      async cancel() {
        ended.abort();
        onLeft();
        await chunks.return?.();
      },
    },
    { highWaterMark: 0 },
  );
  const type = form === 'lines' ? ndjson : 'application/octet-stream';
  return new Response(body, { headers: { 'content-type': type, 'cache-control': 'no-store' } });
}

/** Lets an early failure through, so that it becomes an answer with a status. */
async function failsSoon(first: Promise<unknown>): Promise<void> {
  first.catch(() => {});
  let timer: NodeJS.Timeout | undefined;
  const enough = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, firstChunkWaitMs);
  });
  try {
    await Promise.race([first, enough]);
  } finally {
    clearTimeout(timer);
  }
}

function encodeLine(chunk: OutputChunk): Uint8Array {
  return line<LogLine>({ stream: chunk.stream, data: Buffer.from(chunk.data).toString('base64') });
}

function line<T>(value: T): Uint8Array {
  return new TextEncoder().encode(`${JSON.stringify(value)}\n`);
}

/** The way down as an answer: one JSON line for each step, then `done` or `error`. Goes on if the client leaves. */
export function downResponse(down: (onProgress: (text: string) => void) => Promise<void>): Response {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      let open = true;
      const send = (value: DownLine) => {
        if (!open) return;
        try {
          controller.enqueue(line(value));
        } catch {
          open = false;
        }
      };
      const close = () => {
        if (open) controller.close();
        open = false;
      };
      down((progress) => send({ progress }))
        .then(() => send({ done: true }))
        .catch((error: unknown) => send({ error: errorBodyOf(error) }))
        .finally(close);
    },
  });
  return new Response(body, { headers: { 'content-type': ndjson, 'cache-control': 'no-store' } });
}
