import type { LogRequest, OutputChunk } from '@cloudos/sdk';
import { bytesOf } from './simulated-program.ts';
import type { SimulatedGuest } from './simulated-world.ts';

/** What a guest printed, and with `follow` what it prints until its run ends or the signal aborts. */
export async function* followLines(find: () => SimulatedGuest, request: LogRequest): AsyncGenerator<OutputChunk> {
  const guest = find();
  let lines = tail(guest.lines ?? [], request.tailLines);
  let last = guest.lines?.at(-1);
  for (;;) {
    for (const line of lines) yield { stream: line.stream, data: bytesOf(line) };
    if (!request.follow) return;
    while (guest.lines?.at(-1) === last) {
      if (guest.removed || guest.state === 'exited' || request.signal?.aborted) return;
      await change(guest, request.signal);
    }
    const all = guest.lines ?? [];
    lines = all.slice(last === undefined ? 0 : all.lastIndexOf(last) + 1);
    last = all.at(-1);
  }
}

function tail<T extends { stream: string }>(lines: readonly T[], count: number | undefined): readonly T[] {
  if (count === undefined) return [...lines];
  const left = new Map<string, number>();
  return lines
    .toReversed()
    .filter((line) => {
      const taken = left.get(line.stream) ?? 0;
      left.set(line.stream, taken + 1);
      return taken < count;
    })
    .toReversed();
}

function change(guest: SimulatedGuest, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve) => {
    guest.watchers ??= new Set();
    const done = () => {
      guest.watchers?.delete(done);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    guest.watchers.add(done);
    signal?.addEventListener('abort', done, { once: true });
  });
}
