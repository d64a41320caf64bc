import { statSync, watch } from 'node:fs';
import { type FileHandle, open, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogRequest, OutputChunk } from '@cloudos/sdk';

type Stream = OutputChunk['stream'];
const streams: readonly Stream[] = ['stdout', 'stderr'];
const chunkMaxBytes = 64 * 1024;
/** A change of a file that the kernel did not announce is seen after that long. */
const followPollMs = 500;
/** How long the loggers may take to write what was under way when the guest ended. */
const drainMaxMs = 2_000;

/** Bytes in the current log files of a guest. */
export async function logSizes(directory: string): Promise<{ stdout: number; stderr: number }> {
  const size = (name: string) => statSync(join(directory, name), { throwIfNoEntry: false })?.size ?? 0;
  return { stdout: size('stdout'), stderr: size('stderr') };
}

/**
 * Reads what a guest has written: the rotated file, then the current one, of each stream. `<stream>`, `<stream>.1` and,
 * when its logger has ended, `<stream>.end` (see {@link loggerFunction}).
 * `since` needs the times that {@link timedLogger} keeps.
 * @param hasEnded asked while following; the reading ends when it says so and nothing more is coming
 */
export async function* readLogFiles(
  directory: string,
  request: LogRequest,
  hasEnded: () => boolean | Promise<boolean>,
): AsyncGenerator<OutputChunk> {
  const cursors = streams.map((stream) => new LogCursor(directory, stream));
  const wakener = new Wakener(directory, request.signal);
  try {
    for (const cursor of cursors) await cursor.begin(request);
    for (let endedAt: number | undefined; ; ) {
      if (request.signal?.aborted) return;
      const ended = await hasEnded();
      if (ended) endedAt ??= Date.now();
      const complete = ended && (await allDrained(directory));
      let any = false;
      for (const cursor of cursors) {
        for (let data = await cursor.next(); data; data = await cursor.next()) {
          any = true;
          yield { stream: cursor.stream, data };
          if (request.signal?.aborted) return;
        }
      }
      if (!request.follow || complete) return;
      if (endedAt !== undefined && Date.now() - endedAt > drainMaxMs) return;
      if (!any) await wakener.wait(ended ? 20 : followPollMs);
    }
  } finally {
    wakener.close();
    for (const cursor of cursors) await cursor.close();
  }
}

async function allDrained(directory: string): Promise<boolean> {
  const ends = streams.map((stream) =>
    stat(join(directory, `${stream}.end`)).then(
      () => true,
      () => false,
    ),
  );
  return (await Promise.all(ends)).every((end) => end);
}

/** A position in the log of one stream that stays with its file when the file is rotated. */
class LogCursor {
  readonly stream: Stream;
  readonly #path: string;
  #file: FileHandle | undefined;
  #inode = 0;
  #offset = 0;

  constructor(directory: string, stream: Stream) {
    this.stream = stream;
    this.#path = join(directory, stream);
  }

  async begin({ tailLines, since }: LogRequest): Promise<void> {
    const older = await open(`${this.#path}.1`, 'r').catch(() => undefined);
    const current = await open(this.#path, 'r').catch(() => undefined);
    const start = later(
      tailLines === undefined
        ? { file: older ? 'older' : 'current', offset: 0 }
        : await startOfTail(older, current, tailLines),
      since === undefined ? undefined : await this.#startOf(since, older, current),
    );
    const unused = start.file === 'older' ? current : older;
    await unused?.close();
    await this.#use(start.file === 'older' ? older : current, start.offset);
  }

  /**
   * Where what was written at or after that time begins, by the records of {@link timedLogger}: a line that was begun before
   * and ended then is whole.
   */
  async #startOf(since: number, older: FileHandle | undefined, current: FileHandle | undefined): Promise<Start> {
    for (const [file, suffix, handle] of [['older', '.1', older] as const, ['current', '', current] as const]) {
      const times = await readFile(`${this.#path}.times${suffix}`).catch(() => Buffer.alloc(0));
      for (let at = 0; at + 16 <= times.length; at += 16) {
        if (times.readBigUInt64BE(at) >= BigInt(Math.max(0, Math.ceil(since)))) {
          const offset = Number(times.readBigUInt64BE(at + 8));
          return { file, offset: handle ? await startOfLine(handle, offset) : offset };
        }
      }
    }
    return { file: 'current', offset: (await current?.stat())?.size ?? 0 };
  }

  /** What comes next, or undefined when there is no more for now. */
  async next(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (!this.#file) {
        const file = await open(this.#path, 'r').catch(() => undefined);
        if (!file) return undefined;
        await this.#use(file, 0);
      }
      const buffer = Buffer.alloc(chunkMaxBytes);
      const read = (await this.#file?.read(buffer, 0, chunkMaxBytes, this.#offset))?.bytesRead ?? 0;
      if (read > 0) {
        this.#offset += read;
        return buffer.subarray(0, read);
      }
      const current = await stat(this.#path).catch(() => undefined);
      if (!current || current.ino === this.#inode) return undefined;
      // The file was rotated away and is read to its end: go on with the new one.
      await this.close();
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  async #use(file: FileHandle | undefined, offset: number): Promise<void> {
    this.#file = file;
    this.#offset = offset;
    this.#inode = file ? (await file.stat()).ino : 0;
  }
}

/** Where reading begins: in the file that was rotated away, or in the one that is written. */
interface Start {
  readonly file: 'older' | 'current';
  readonly offset: number;
}

function later(one: Start, other: Start | undefined): Start {
  if (!other) return one;
  if (one.file !== other.file) return one.file === 'current' ? one : other;
  return one.offset > other.offset ? one : other;
}

/** Where the line begins that goes on there; there itself when it is longer than a chunk. */
async function startOfLine(file: FileHandle, offset: number): Promise<number> {
  const start = Math.max(0, offset - chunkMaxBytes);
  const buffer = Buffer.alloc(offset - start);
  await file.read(buffer, 0, buffer.length, start);
  const newline = buffer.lastIndexOf(10);
  if (newline < 0) return start === 0 ? 0 : offset;
  return start + newline + 1;
}

async function startOfTail(
  older: FileHandle | undefined,
  current: FileHandle | undefined,
  lines: number,
): Promise<Start> {
  const inCurrent = current ? await offsetOfTail(current, lines) : { offset: 0, missing: lines };
  if (!older || inCurrent.missing <= 0) return { file: 'current', offset: inCurrent.offset };
  return { file: 'older', offset: (await offsetOfTail(older, inCurrent.missing)).offset };
}

/** Where the last lines begin, and how many of them the file does not have. */
async function offsetOfTail(file: FileHandle, lines: number): Promise<{ offset: number; missing: number }> {
  const { size } = await file.stat();
  if (lines === 0) return { offset: size, missing: 0 };
  let found = 0;
  const buffer = Buffer.alloc(chunkMaxBytes);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - chunkMaxBytes);
    await file.read(buffer, 0, end - start, start);
    for (let index = end - start - 1; index >= 0; index--) {
      // The newline at the very end closes the last line, it does not begin another.
      if (buffer[index] !== 10 || start + index === size - 1) continue;
      found += 1;
      if (found === lines) return { offset: start + index + 1, missing: 0 };
    }
    end = start;
  }
  return { offset: 0, missing: lines - found - (size > 0 ? 1 : 0) };
}

/** Waits for a change in a directory, the end of the signal, or a time. */
class Wakener {
  readonly #watcher;
  readonly #signal: AbortSignal | undefined;
  #woken = false;
  #wake: () => void = () => {};

  constructor(directory: string, signal: AbortSignal | undefined) {
    this.#signal = signal;
    this.#watcher = watch(directory, { persistent: false }, () => this.#now());
    this.#watcher.on('error', () => {});
    signal?.addEventListener('abort', this.#now);
  }

  readonly #now = () => {
    this.#woken = true;
    this.#wake();
  };

  async wait(timeoutMs: number): Promise<void> {
    if (!this.#woken) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#woken = false;
  }

  close(): void {
    this.#watcher.close();
    this.#signal?.removeEventListener('abort', this.#now);
  }
}
