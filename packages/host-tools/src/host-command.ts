import { spawn } from 'node:child_process';
import { existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { CloudosError } from '@cloudos/sdk';

/** Where the tools of the host are looked for; guests' environments never reach them. */
export const toolPath = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const toolEnvironment: Readonly<Record<string, string>> = { PATH: toolPath, LC_ALL: 'C' };

/** Absolute path of a tool of the host, or undefined. */
export function findTool(name: string): string | undefined {
  return toolPath
    .split(':')
    .map((directory) => `${directory}/${name}`)
    .find((path) => existsSync(path));
}

/** The most that is kept of what a command prints. */
const outputMaxBytes = 64 * 1024;

export interface CommandOptions {
  readonly input?: string;
  readonly timeoutMs?: number;
  readonly cwd?: string;
}

/**
 * Runs a tool of the host to its end and returns what it printed.
 * @throws CloudosError HOST_COMMAND_FAILED with the last of its standard error
 */
export function runCommand(command: string, args: readonly string[], options: CommandOptions = {}): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      env: toolEnvironment,
      stdio: ['pipe', 'pipe', 'pipe'],
      timeout: options.timeoutMs ?? 10_000,
      killSignal: 'SIGKILL',
      ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (data: Buffer) => {
      stdout = `${stdout}${data}`.slice(-outputMaxBytes);
    });
    child.stderr.on('data', (data: Buffer) => {
      stderr = `${stderr}${data}`.slice(-outputMaxBytes);
    });
    const failed = (how: string, cause?: unknown) =>
      reject(
        new CloudosError(
          'HOST_COMMAND_FAILED',
          `${command} ${args.join(' ')} ${how}: ${stderr.trim() || 'no output'}`,
          {
            cause,
            details: { command, args: [...args] },
          },
        ),
      );
    child.on('error', (error) => failed('could not be run', error));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else failed(code === null ? `was ended by ${signal}` : `ended with ${code}`);
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}

/** The text as one word of sh. */
export function shellWord(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

let inherited: readonly number[] | undefined;
let nowhere: number | undefined;

/**
 * Standard streams for a child, with /dev/null in place of every descriptor that this process got from whoever started
 * it and that would go on to its children: a guest shall hold nothing of the host's.
 */
export function closedStdio(streams: readonly ('ignore' | 'pipe' | number)[]): ('ignore' | 'pipe' | number)[] {
  inherited ??= readdirSync('/proc/self/fdinfo').map(Number).filter(isPassedOn);
  const stdio = [...streams];
  for (const descriptor of inherited) {
    if (descriptor < streams.length) continue;
    nowhere ??= openSync('/dev/null', 'r+');
    while (stdio.length < descriptor) stdio.push('ignore');
    stdio[descriptor] = nowhere;
  }
  return stdio;
}

/** Without O_CLOEXEC (fcntl(2)), and not one of the standard streams. */
function isPassedOn(descriptor: number): boolean {
  if (descriptor < 3) return false;
  try {
    const flags = /^flags:\s+(\d+)/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, 'latin1'))?.[1];
    return flags !== undefined && (Number.parseInt(flags, 8) & 0o2000000) === 0;
  } catch {
    return false;
  }
}
