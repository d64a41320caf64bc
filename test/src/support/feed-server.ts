import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../fixtures/feed-server.mjs', import.meta.url));

/** A gateway over a log in a process of its own, on one port for all of its lives. */
export class FeedServer {
  readonly directory: string;
  #port = 0;
  #child: ChildProcess | undefined;

  constructor(directory: string) {
    this.directory = directory;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  /** Resolves when it listens. */
  start(seed: number): Promise<void> {
    const child = spawn(process.execPath, [program, this.directory, String(this.#port), String(seed)], {
      stdio: 'pipe',
    });
    this.#child = child;
    let errors = '';
    child.stderr.on('data', (text: Buffer) => {
      errors += text.toString();
    });
    return new Promise((resolve, reject) => {
      child.stdout.once('data', (text: Buffer) => {
        this.#port = Number(text.toString().split(' ')[1]);
        resolve();
      });
      child.once('exit', (code) => reject(new Error(`the server ended with ${code}: ${errors}`)));
    });
  }

  say(line: string): void {
    this.#child?.stdin?.write(`${line}\n`);
  }

  async kill(): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }
}
