import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createInterface, type Interface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../fixtures/feed-server.mjs', import.meta.url));

/** What a server may do wrong with what it is told by its log: leave events out, or tell them twice. */
export type Sabotage = 'lose' | 'double';

/** A gateway over a log in a process of its own, on one port for all of its lives. */
export class FeedServer {
  readonly directory: string;
  #port = 0;
  #child: ChildProcess | undefined;
  #lines: Interface | undefined;
  #failure: Error | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Resolves when it listens. @param events that it appends; from then on it is slow */
  async start(seed: number, events: number, sabotage?: Sabotage): Promise<void> {
    const args = [this.directory, String(this.#port), String(seed), String(events), sabotage ?? ''];
    const child = spawn(process.execPath, [program, ...args], { stdio: 'pipe' });
    this.#child = child;
    let errors = '';
    child.stderr.on('data', (text: Buffer) => {
      errors += text.toString();
    });
    const lines = createInterface({ input: child.stdout }).on('error', () => {});
    this.#lines = lines;
    this.#failure = undefined;
    child.once('exit', (code) => {
      if (this.#child !== child) return;
      this.#failure = new Error(`the server ended with ${code}: ${errors}`);
      lines.emit('error', this.#failure);
    });
    this.#port = await this.#answer('open');
  }

  /** Closes the log and goes on with another reader of it. */
  swap(): void {
    this.#say('swap');
  }

  /** Last position of the log now. */
  head(): Promise<number> {
    return this.#ask('head');
  }

  /** Appends no more; returns the last position there is. */
  still(): Promise<number> {
    return this.#ask('still');
  }

  /** Processor time of its life so far, in seconds. Linux only: proc_pid_stat(5), in hundredths. */
  cpuSeconds(): number {
    const fields = readFileSync(`/proc/${this.#child?.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    return (Number(fields[11]) + Number(fields[12])) / 100;
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  }

  #ask(what: string): Promise<number> {
    const answer = this.#answer(what);
    this.#say(what);
    return answer;
  }

  #say(line: string): void {
    this.#child?.stdin?.write(`${line}\n`);
  }

  /** The number behind a word that the server says. Rejects when it ends before. */
  async #answer(word: string): Promise<number> {
    for (;;) {
      if (this.#failure) throw this.#failure;
      const [line] = (await once(this.#lines as Interface, 'line')) as [string];
      const [said, value] = line.split(' ');
      if (said === word) return Number(value);
    }
  }
}
