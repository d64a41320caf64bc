import type { ExecRequest, ExecSession, OutputChunk } from '@cloudos/sdk';
import { ReplaySubject } from 'rxjs';

/**
 * A command that behaves by its first word: `echo` prints the rest and exits with 0, `cat` copies its input,
 * `exit <n>` exits, `size` prints the terminal size at each resize, `flood` prints megabytes for ever.
 */
export class FakeExec implements ExecSession {
  readonly output = new ReplaySubject<OutputChunk>();
  readonly exitCode: Promise<number>;
  killed = false;
  #exit!: (code: number) => void;
  readonly #verb: string;
  #flood: NodeJS.Timeout | undefined;

  constructor(request: ExecRequest) {
    const [verb = '', ...rest] = request.command;
    this.#verb = verb;
    this.exitCode = new Promise((resolve) => {
      this.#exit = resolve;
    });
    if (verb === 'echo') {
      this.#print('stdout', `${rest.join(' ')}\n`);
      this.#print('stderr', 'done\n');
      this.#finish(0);
    }
    if (verb === 'exit') this.#finish(Number(rest[0] ?? 0));
    if (verb === 'env') {
      this.#print('stdout', JSON.stringify({ env: request.env, workingDir: request.workingDir, tty: request.tty }));
      this.#finish(0);
    }
    if (verb === 'flood') {
      this.#flood = setInterval(() => this.output.next({ stream: 'stdout', data: Buffer.alloc(1024 * 1024) }), 1);
    }
  }

  write(data: Uint8Array): Promise<void> {
    if (this.#verb === 'cat') this.output.next({ stream: 'stdout', data: Uint8Array.from(data) });
    return Promise.resolve();
  }

  end(): void {
    this.#finish(0);
  }

  resize(columns: number, rows: number): void {
    this.#print('stdout', `${columns}x${rows}\n`);
  }

  kill(): void {
    this.killed = true;
    this.#finish(137);
  }

  #print(stream: OutputChunk['stream'], text: string): void {
    this.output.next({ stream, data: Buffer.from(text) });
  }

  #finish(code: number): void {
    clearInterval(this.#flood);
    this.output.complete();
    this.#exit(code);
  }
}
