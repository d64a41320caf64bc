import type { ExecSession, GuestDriver } from '@cloudos/sdk';

const waits = new Set<{ readonly what: string; readonly since: number }>();

/** Waits for what may never come. Past its time it fails with `what`, which the time of the whole test could not say. */
export async function within<T>(maxMs: number, what: string, awaited: Promise<T>): Promise<T> {
  const wait = { what, since: Date.now() };
  waits.add(wait);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`did not happen in ${maxMs} ms: ${what}`)), maxMs);
  });
  try {
    return await Promise.race([awaited, late]);
  } finally {
    clearTimeout(timer);
    waits.delete(wait);
  }
}

/** What is being waited for, and since when: for a test whose own time was over before that of a wait in it. */
export function openWaits(): string[] {
  return [...waits].map(({ what, since }) => `${what}, for ${Date.now() - since} ms`);
}

/**
 * The same driver, of which every answer is waited for no longer than that: those of its calls, each piece of a log or of an
 * export, and the exit code of a command. Whoever waits longer is told which it was.
 */
export function boundedDriver(driver: GuestDriver, maxMs: number): GuestDriver {
  return new Proxy(driver, {
    get(target, key) {
      const member: unknown = Reflect.get(target, key, target);
      if (typeof member !== 'function') return member;
      return (...args: unknown[]) => {
        const answer: unknown = member.apply(target, args);
        const call = `${String(key)}(${typeof args[0] === 'string' ? args[0] : ''})`;
        if (answer instanceof Promise) {
          return within(maxMs, `an answer to ${call}`, answer).then((given: unknown) =>
            key === 'exec' ? boundedSession(given as ExecSession, maxMs, `${call} ${commandOf(args[1])}`) : given,
          );
        }
        return isAsyncIterable(answer) ? boundedPieces(answer, maxMs, `the next piece of ${call}`) : answer;
      };
    },
  });
}

function commandOf(request: unknown): string {
  return ((request as { command?: readonly string[] }).command ?? []).join(' ').slice(0, 100);
}

function boundedSession(session: ExecSession, maxMs: number, what: string): ExecSession {
  const exitCode = within(maxMs, `the exit code of ${what}`, session.exitCode);
  // Nobody need wait for it.
  exitCode.catch(() => {});
  return {
    output: session.output,
    exitCode,
    write: (data) => within(maxMs, `room for input of ${what}`, session.write(data)),
    end: () => session.end(),
    resize: (columns, rows) => session.resize(columns, rows),
    kill: () => session.kill(),
  };
}

function isAsyncIterable(value: unknown): value is AsyncIterable<unknown> {
  return typeof value === 'object' && value !== null && Symbol.asyncIterator in value;
}

async function* boundedPieces<T>(pieces: AsyncIterable<T>, maxMs: number, what: string): AsyncGenerator<T> {
  const iterator = pieces[Symbol.asyncIterator]();
  let isOver = false;
  try {
    for (;;) {
      const next = await within(maxMs, what, iterator.next());
      isOver = next.done === true;
      if (next.done) return;
      yield next.value;
    }
  } catch (error) {
    isOver = true;
    throw error;
  } finally {
    if (!isOver) await iterator.return?.();
  }
}
