import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LmdbEventLog, openLogReader } from '@cloudos/log-lmdb';
import type { RecordedEvent } from '@cloudos/sdk';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const source = fileURLToPath(new URL('./fixtures/log-appender.mjs', import.meta.url));
/** The same in one file: it starts in half the time, and it is started for each round. */
const program = fileURLToPath(new URL('../dist/fixtures/log-appender.mjs', import.meta.url));
const rounds = 200;
/** Children that are starting while an earlier one runs: most of a round would be the start of Node.js. */
const waitingChildren = 3;
const seed = Number(process.env.CLOUDOS_SEED ?? Date.now() % 1_000_000);

interface Ack {
  readonly first: number;
  readonly count: number;
  readonly position: number;
}

/** A child process that appends when it is told to. */
class Appender {
  readonly #child: ChildProcess;
  readonly #round: number;
  #output = '';
  #errors = '';
  #onLine = () => {};

  constructor(directory: string, round: number) {
    this.#round = round;
    this.#child = spawn(process.execPath, [program, directory, String(seed + round)], { stdio: 'pipe' });
    this.#child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text;
      this.#onLine();
    });
    this.#child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
  }

  /**
   * Lets it append, kills it that long after it has opened the log or has acknowledged something, and returns what it
   * acknowledged.
   */
  runAndKill(start: number, after: 'open' | 'first acknowledgement', delayMs: number): Promise<Ack[]> {
    const lines = after === 'open' ? 1 : 2;
    return new Promise((resolve, reject) => {
      this.#onLine = () => {
        if (this.#output.split('\n').length <= lines) return;
        this.#onLine = () => {};
        setTimeout(() => this.kill(), delayMs);
      };
      this.#child.on('close', (_code, signal) => {
        if (signal === 'SIGKILL') resolve(this.#acknowledged());
        else reject(new Error(`round ${this.#round}: the appender ended by itself: ${this.#errors}`));
      });
      this.#child.stdin!.write(`${start}\n`);
    });
  }

  kill(): void {
    this.#child.kill('SIGKILL');
  }

  #acknowledged(): Ack[] {
    // The first line is not one, and the last may be cut off.
    const lines = this.#output.split('\n').slice(1, -1);
    return lines.map((line) => {
      const [first, count, position] = line.split(' ').map(Number);
      return { first: first!, count: count!, position: position! };
    });
  }
}

/** What the log was found to hold so far, and what is wrong with it. */
class Ledger {
  readonly #seen = new Set<number>();
  readonly #revisions = new Map<string, number>();
  readonly #at: number[] = [];
  /** The next number to append: greater than any that is in the log or was tried. */
  next = 0;
  acknowledged = 0;

  get events(): number {
    return this.#at.length;
  }

  take(events: readonly RecordedEvent[]): void {
    for (const event of events) {
      const { n } = event.data as { n: number };
      const revision = (this.#revisions.get(event.stream) ?? -1) + 1;
      if (event.position !== this.#at.length)
        throw new Error(`position ${event.position}, expected ${this.#at.length}`);
      if (event.revision !== revision)
        throw new Error(`${event.stream}: revision ${event.revision}, expected ${revision}`);
      if (this.#seen.has(n)) throw new Error(`event ${n} is there twice`);
      this.#revisions.set(event.stream, revision);
      this.#seen.add(n);
      this.#at.push(n);
      this.next = Math.max(this.next, n + 1);
    }
  }

  check(acks: readonly Ack[]): void {
    for (const { first, count, position } of acks) {
      this.acknowledged += count;
      for (let index = 0; index < count; index++) {
        if (this.#at[position + index] === first + index) continue;
        throw new Error(`acknowledged ${first + index} at ${position + index}, found ${this.#at[position + index]}`);
      }
    }
  }
}

describe(`a log whose writer is killed (CLOUDOS_SEED=${seed})`, () => {
  let directory: string;
  const children: Appender[] = [];
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'cloudos-crash-'));
    await build({
      entryPoints: [source],
      outfile: program,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: ['lmdb', 'msgpackr'],
      banner: { js: `import{createRequire}from'node:module';const require=createRequire(import.meta.url);` },
      logLevel: 'error',
    });
  });
  afterAll(async () => {
    for (const child of children) child.kill();
    await rm(directory, { recursive: true, force: true });
  });

  it(`holds every acknowledged event once, in order, after each of ${rounds} kills`, { timeout: 600_000 }, async () => {
    const ledger = new Ledger();
    let spawned = 0;
    for (let round = 0; round < rounds; round++) {
      while (spawned < Math.min(rounds, round + 1 + waitingChildren)) children.push(new Appender(directory, spawned++));
      const delayMs = (seed * 7919 + round * 104_729) % 30;
      const after = round % 2 === 0 ? 'open' : 'first acknowledgement';
      const acks = await children.shift()!.runAndKill(ledger.next, after, delayMs);
      const reader = await openLogReader(directory);
      for await (const batch of reader.read({ from: ledger.events })) ledger.take(batch);
      await reader.close();
      ledger.check(acks);
    }
    const log = await LmdbEventLog.open({ directory });
    const report = await log.verify();
    await log.close();
    expect(report).toMatchObject({ ok: true, head: ledger.events - 1, damages: [] });
    expect(report.events).toBe(ledger.events - report.first);
    expect(ledger.acknowledged).toBeGreaterThanOrEqual(rounds / 2);
    console.log(`seed ${seed}: ${rounds} kills, ${ledger.acknowledged} of ${ledger.events} stored events acknowledged`);
  });
});
