import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { CloudosError, type OutputChunk } from '@cloudos/sdk';

/** How a command of the host ended. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that runs as long as it likes. */
export interface HostProcess {
  /** Called for what it prints from then on: to be set before the next turn of the event loop. */
  onOutput(listener: (chunk: OutputChunk) => void): void;
  write(data: Uint8Array): Promise<void>;
  /** Closes its standard input. */
  end(): void;
  kill(): void;
  /** After all of its output; 128 + n for signal n. */
  readonly ended: Promise<number>;
}

/** The tools of the global zone of SmartOS: everything that the driver does there goes through this. */
export interface HostCommands {
  /** Runs it to its end, whatever its exit code. @throws CloudosError HOST_COMMAND_FAILED when it cannot be run, or takes too long */
  run(argv: readonly string[], input?: string): Promise<CommandResult>;
  open(argv: readonly string[]): HostProcess;
}

/** The most that is taken of what a command prints: `vmadm lookup -j` tells all of all zones. */
const outputMaxBytes = 64 * 2 ** 20;

/** The search path and the language of the tools; nothing of the kernel's environment reaches them. */
const environment = { PATH: '/usr/sbin:/usr/bin:/usr/vm/sbin:/sbin:/bin', LC_ALL: 'C' };

/** Runs the tools of this machine. */
export class ToolsOfHost implements HostCommands {
  readonly #timeoutMs: number;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  run(argv: readonly string[], input?: string): Promise<CommandResult> {
    const [command = '', ...args] = argv;
    return new Promise((resolve, reject) => {
      const child = spawn(command, args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
      const failed = (how: string, cause?: unknown) => {
        child.kill('SIGKILL');
        reject(new CloudosError('HOST_COMMAND_FAILED', `${argv.join(' ')} ${how}`, { cause }));
      };
      const timer = setTimeout(() => failed(`has not ended in ${this.#timeoutMs} ms`), this.#timeoutMs);
      const text = { stdout: [] as Buffer[], stderr: [] as Buffer[] };
      let size = 0;
      for (const stream of ['stdout', 'stderr'] as const) {
        child[stream].on('data', (data: Buffer) => {
          size += data.length;
          if (size > outputMaxBytes) failed(`printed more than ${outputMaxBytes} bytes`);
          else text[stream].push(data);
        });
      }
      child.on('error', (error) => {
        clearTimeout(timer);
        failed('could not be run', error);
      });
      child.on('close', (code, signal) => {
        clearTimeout(timer);
        const exitCode = codeOf(code, signal);
        resolve({ exitCode, stdout: `${Buffer.concat(text.stdout)}`, stderr: `${Buffer.concat(text.stderr)}` });
      });
      child.stdin.on('error', () => {});
      child.stdin.end(input ?? '');
    });
  }

  open(argv: readonly string[]): HostProcess {
    const [command = '', ...args] = argv;
    const child = spawn(command, args, { env: environment, stdio: ['pipe', 'pipe', 'pipe'] });
    child.stdin.on('error', () => {});
    return {
      onOutput: (listener) => {
        for (const stream of ['stdout', 'stderr'] as const) {
          child[stream].on('data', (data: Buffer) => listener({ stream, data }));
        }
      },
      write: (data) =>
        new Promise((resolve) => {
          if (child.stdin.destroyed || child.stdin.writableEnded) resolve();
          else child.stdin.write(data, () => resolve());
        }),
      end: () => child.stdin.end(),
      kill: () => child.kill('SIGKILL'),
      ended: new Promise((resolve) => {
        // A command that cannot be run ends as a shell says it.
        child.on('error', () => resolve(127));
        child.on('close', (code, signal) => resolve(codeOf(code, signal)));
      }),
    };
  }
}

function codeOf(code: number | null, signal: NodeJS.Signals | null): number {
  return code ?? 128 + (constants.signals[signal ?? 'SIGKILL'] ?? 9);
}
