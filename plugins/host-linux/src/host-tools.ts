import { execFile } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

const timeoutMs = 5_000;
const systemPath = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin', '/snap/bin'];

/** Absolute path of a program, or undefined. The administrator's directories count, too. */
export function findProgram(name: string): string | undefined {
  const directories = [...(process.env.PATH ?? '').split(delimiter), ...systemPath];
  return directories
    .filter((directory) => directory.startsWith('/'))
    .map((directory) => join(directory, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** What a program prints, or undefined when it fails or takes longer than 5 s. */
export function outputOf(program: string, args: readonly string[], input?: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, killSignal: 'SIGKILL' as const, maxBuffer: 256 * 1024 };
    const child = execFile(program, [...args], options, (error, stdout, stderr) =>
      resolve(error ? undefined : `${stdout}${stderr}`),
    );
    child.stdin?.on('error', () => {});
    child.stdin?.end(input ?? '');
  });
}

/** A guest technology that may be installed. */
export interface RuntimeTool {
  /** Name of the attribute: `runtime.<name>`. */
  readonly name: string;
  readonly programs: readonly string[];
  readonly args: readonly string[];
  /** What installs it on Debian and Ubuntu. */
  readonly install: string;
}

export const runtimeTools: readonly RuntimeTool[] = [
  { name: 'runc', programs: ['runc'], args: ['--version'], install: 'apt-get install runc' },
  { name: 'crun', programs: ['crun'], args: ['--version'], install: 'apt-get install crun' },
  { name: 'docker', programs: ['dockerd'], args: ['--version'], install: 'apt-get install docker.io' },
  { name: 'lxd', programs: ['lxd'], args: ['--version'], install: 'apt-get install lxd' },
  { name: 'incus', programs: ['incusd'], args: ['--version'], install: 'apt-get install incus' },
  {
    name: 'qemu',
    programs: ['qemu-system-x86_64', 'qemu-system-aarch64'],
    args: ['--version'],
    install: 'apt-get install qemu-system-x86',
  },
  {
    name: 'gvisor',
    programs: ['runsc'],
    args: ['--version'],
    install: 'see https://gvisor.dev/docs/user_guide/install (package runsc)',
  },
];

/** Version of each runtime that is installed, by name. */
export async function installedRuntimes(): Promise<ReadonlyMap<string, string>> {
  const found = await Promise.all(
    runtimeTools.map(async (tool) => {
      const program = tool.programs.map(findProgram).find((path) => path !== undefined);
      if (program === undefined) return undefined;
      const said = (await outputOf(program, tool.args)) ?? '';
      return [tool.name, /\d+(?:\.\d+)+[\w.~+-]*|\d{8}\S*/.exec(said)?.[0] ?? 'unknown'] as const;
    }),
  );
  return new Map(found.filter((entry) => entry !== undefined));
}
