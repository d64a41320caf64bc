import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { LogRequest, OutputChunk } from '@cloudos/sdk';

/** How often a log that is followed is looked at. */
const followPollMs = 250;
const chunkBytes = 64 * 1024;

/**
 * Reads what the program of a zone has written: SmartOS keeps it below the zone's path in `logs/stdio.log`, a JSON object
 * for each line (`docker:logdriver` json-file), and moves a full one to `stdio.log.<time>` (`zlog_max_size`).
 * @param hasEnded asked while following: the reading ends when it says so and nothing more is there
 */
export async function* readVmLogs(
  directory: string,
  request: LogRequest,
  hasEnded: () => Promise<boolean>,
): AsyncGenerator<OutputChunk> {
  const { follow, signal } = request;
  const reader = new LogReader(directory);
  try {
    let entries = (await reader.next()).filter(({ time }) => isWanted(request, time));
    if (request.tailLines !== undefined) entries = lastOf(entries, request.tailLines);
    for (;;) {
      for (const { stream, text } of entries) yield { stream, data: Buffer.from(text) };
      if (!follow || signal?.aborted) return;
      const ended = await hasEnded();
      entries = (await reader.next()).filter(({ time }) => isWanted(request, time));
      if (entries.length > 0) continue;
      if (ended) return;
      await new Promise((resolve) => setTimeout(resolve, followPollMs));
    }
  } finally {
    await reader.close();
  }
}

interface LogEntry {
  readonly stream: OutputChunk['stream'];
  readonly text: string;
  /** Milliseconds of the epoch. */
  readonly time: number;
}

function isWanted({ since }: LogRequest, time: number): boolean {
  return since === undefined || time >= since;
}

/** The last lines of each stream. An entry is a line, or the piece of one that was written at once. */
function lastOf(entries: readonly LogEntry[], lines: number): LogEntry[] {
  const left = { stdout: lines, stderr: lines };
  const kept: LogEntry[] = [];
  for (const entry of [...entries].reverse()) {
    if (entry.text.endsWith('\n') || !kept.some(({ stream }) => stream === entry.stream)) left[entry.stream] -= 1;
    if (left[entry.stream] >= 0) kept.unshift(entry);
  }
  return kept;
}

/** Goes on from file to file: one that was read to its end and moved away is followed by the next. */
class LogReader {
  readonly #directory: string;
  #file: FileHandle | undefined;
  #inode = 0;
  #rest = '';
  #begun = false;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Everything that has been written since the last call. */
  async next(): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    if (!this.#begun) {
      this.#begun = true;
      for (const name of await this.#older()) {
        await this.#use(name);
        entries.push(...(await this.#read()));
      }
    }
    for (;;) {
      entries.push(...(await this.#read()));
      if (!(await this.#turn())) return entries;
    }
  }

  async close(): Promise<void> {
    await this.#file?.close();
    this.#file = undefined;
  }

  /** Names of the logs that were moved away, the oldest first: they end with times in the form of ISO 8601. */
  async #older(): Promise<string[]> {
    const names = await readdir(this.#directory).catch(() => []);
    return names.filter((name) => name.startsWith('stdio.log.')).sort();
  }

  /** True: the current log is another one than the one that was read. */
  async #turn(): Promise<boolean> {
    const before = this.#inode;
    const current = await open(join(this.#directory, 'stdio.log'), 'r').catch(() => undefined);
    if (!current) return false;
    const { ino } = await current.stat();
    if (ino === before) {
      await current.close();
      return false;
    }
    await this.close();
    this.#file = current;
    this.#inode = ino;
    return true;
  }

  async #use(name: string): Promise<void> {
    await this.close();
    this.#file = await open(join(this.#directory, name), 'r').catch(() => undefined);
    this.#inode = (await this.#file?.stat())?.ino ?? 0;
  }

  async #read(): Promise<LogEntry[]> {
    const entries: LogEntry[] = [];
    const buffer = Buffer.alloc(chunkBytes);
    const pieces: Buffer[] = [];
    for (;;) {
      const bytes = (await this.#file?.read(buffer, 0, chunkBytes, null))?.bytesRead ?? 0;
      if (bytes === 0) break;
      pieces.push(Buffer.from(buffer.subarray(0, bytes)));
    }
    // A line is cut only where the writer is in the middle of it: what is complete ends with a newline.
    const lines = `${this.#rest}${Buffer.concat(pieces).toString('latin1')}`.split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) {
      const entry = entryOf(Buffer.from(line, 'latin1').toString());
      if (entry) entries.push(entry);
    }
    return entries;
  }
}

function entryOf(line: string): LogEntry | undefined {
  try {
    const { log, stream, time } = JSON.parse(line) as { log?: unknown; stream?: unknown; time?: unknown };
    if (typeof log !== 'string') return undefined;
    return { stream: stream === 'stderr' ? 'stderr' : 'stdout', text: log, time: Date.parse(String(time)) };
  } catch {
    return undefined;
  }
}
