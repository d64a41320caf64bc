import type { LogRequest, OutputChunk } from '@cloudos/sdk';
import { type LxdClient, statusOfError } from './lxd-client.ts';

const pollMs = 500;

/**
 * What a machine has written to its console, which the daemon keeps in a ring of one MiB: both streams in one. Followed by
 * asking again.
 */
export async function* readConsole(
  client: LxdClient,
  name: string,
  request: LogRequest,
  isRunning: () => Promise<boolean>,
): AsyncGenerator<OutputChunk> {
  let text = await consoleOf(client, name);
  if (request.tailLines !== undefined) yield* chunk(lastLines(text, request.tailLines));
  else yield* chunk(text);
  while (request.follow && !request.signal?.aborted) {
    const running = await isRunning();
    const now = await consoleOf(client, name);
    yield* chunk(now.startsWith(text) ? now.slice(text.length) : now);
    text = now;
    if (!running) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, pollMs);
      const stop = () => {
        clearTimeout(timer);
        resolve();
      };
      request.signal?.addEventListener('abort', stop, { once: true });
    });
  }
}

async function consoleOf(client: LxdClient, name: string): Promise<string> {
  try {
    return await client.text(`/1.0/instances/${name}/console`);
  } catch (error) {
    // One that has never run has none.
    if (statusOfError(error) === 404) return '';
    throw error;
  }
}

function lastLines(text: string, count: number): string {
  if (count === 0) return '';
  const lines = text.split('\n');
  const ends = lines.at(-1) === '' ? 1 : 0;
  return lines.slice(-(count + ends)).join('\n');
}

function* chunk(text: string): Generator<OutputChunk> {
  if (text !== '') yield { stream: 'stdout', data: Buffer.from(text) };
}
