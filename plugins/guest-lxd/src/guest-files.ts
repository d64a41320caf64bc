import { spawn } from 'node:child_process';
import { constants, existsSync, readFileSync } from 'node:fs';
import { chown, mkdir, open, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import {
  awaitProgram,
  closedStdio,
  findTool,
  guestName,
  isAlive,
  logBlocks,
  loggerFunction,
  logSizes,
  type ProcessIdentity,
  passSignalsOn,
  removeTree,
  runCommand,
  shellWord,
  startTimeOf,
  timedLogger,
  toolEnvironment,
} from '@cloudos/host-tools';
import { CloudosError } from '@cloudos/sdk';
import type { GuestRecord } from './guest-record.ts';
import { guestPaths, toolCommand } from './guest-tools.ts';
import { environmentOfProgram } from './instance-config.ts';

/** Where output goes, and where the end of a guest waits for the daemon to know that it runs. */
const pipeNames = ['out', 'err', 'hold'];

/** How a program ended, as the first process of its guest wrote it down. `status` is that of sh: 128 + n for signal n. */
export interface ProgramEnd {
  readonly attempt: number;
  readonly status: number;
  readonly oomKills: number;
  /** The command was not found, so that nothing ran. */
  readonly commandLacking: boolean;
}

/** The directories of guests on the node: `own/` is seen by the guest, logs and what else is the driver's beside it. */
export class GuestFiles {
  readonly #dataDir: string;
  readonly #tools: string;
  readonly #logMaxBytes: number;

  /** @param tools as `prepareTools` made them */
  constructor(dataDir: string, tools: string, logMaxBytes: number) {
    this.#dataDir = dataDir;
    this.#tools = tools;
    this.#logMaxBytes = logMaxBytes;
  }

  get tools(): string {
    return this.#tools;
  }

  /** Whether it is kept when something was written. */
  get hasTimes(): boolean {
    return findTool('perl') !== undefined;
  }

  directory(instance: string): string {
    return join(this.#dataDir, 'files', guestName(instance));
  }

  /** What the guest sees as its own. */
  own(instance: string): string {
    return join(this.directory(instance), 'own');
  }

  async make(instance: string): Promise<void> {
    // Others may pass through to `own`, and see nothing of the rest.
    await mkdir(this.directory(instance), { recursive: true, mode: 0o711 });
    await mkdir(this.own(instance), { recursive: true, mode: 0o700 });
  }

  async remove(instance: string): Promise<void> {
    const pump = this.#pump(instance);
    // The readers are children of the process that is written down, in a group of their own.
    if (pump) killGroup(pump.pid);
    await removeTree(this.directory(instance));
  }

  /** What the guest runs as its first process. */
  async initCommand(): Promise<string> {
    return `${await toolCommand(this.#tools, 'sh')} ${guestPaths.own}/init`;
  }

  /** What a program writes to, and waits at before it ends, unless it is there. */
  async makePipes(instance: string): Promise<void> {
    const pipes = pipeNames.map((name) => join(this.own(instance), name)).filter((path) => !existsSync(path));
    if (pipes.length > 0) await runCommand(findTool('mkfifo') ?? 'mkfifo', ['-m', '622', ...pipes]);
  }

  /**
   * Readies a run: the script of the first process and the pipes for its output, which somebody is to read ({@link repair}).
   * @param owner the user of the node that the guest's root is
   */
  async prepareRun(record: GuestRecord, attempt: number, owner: number, secrets: Readonly<Record<string, string>>) {
    const { instance } = record.spec;
    const own = this.own(instance);
    await mkdir(join(own, 'cg'), { recursive: true, mode: 0o755 });
    for (const name of ['init', 'begun', 'ended']) await rm(join(own, name), { force: true });
    await this.makePipes(instance);
    await writeFile(join(own, 'init'), await this.#script(record, attempt, secrets), { mode: 0o500 });
    for (const name of ['', 'init', ...pipeNames]) await chown(join(own, name), owner, owner);
  }

  /** The daemon knows that the guest runs: its end needs to wait no more. Again: no error. */
  async release(instance: string): Promise<void> {
    const hold = join(this.own(instance), 'hold');
    // Opened both ways it waits for nobody, and lets go whoever waits at it. Who comes later finds it gone.
    const pipe = await open(hold, constants.O_RDWR | constants.O_NONBLOCK).catch(() => undefined);
    await rm(hold, { force: true });
    await pipe?.close();
  }

  /** Whether the program of the run was started. */
  hasBegun(instance: string): boolean {
    return existsSync(join(this.own(instance), 'begun'));
  }

  /** The secrets of the run are in its script, which has been read by now. */
  async begun(instance: string): Promise<void> {
    await rm(join(this.own(instance), 'init'), { force: true });
  }

  /** Undefined as long as the record is not there, or not complete. */
  end(instance: string): ProgramEnd | undefined {
    try {
      const text = readFileSync(join(this.own(instance), 'ended'), 'utf8');
      const [, attempt, status, oomKills, lacking] = /^(\d+) (\d+) (\d+)( lacking)?\n$/.exec(text) ?? [];
      if (attempt === undefined) return undefined;
      return {
        attempt: Number(attempt),
        status: Number(status),
        oomKills: Number(oomKills),
        commandLacking: lacking !== undefined,
      };
    } catch {
      return undefined;
    }
  }

  /** Starts the reader of a guest's output again where it was killed. */
  async repair(instance: string): Promise<void> {
    if (!this.#pump(instance)) await this.#startPump(instance);
  }

  async #script(record: GuestRecord, attempt: number, secrets: Readonly<Record<string, string>>) {
    const { program, spec } = record;
    if (!program) throw new CloudosError('GUEST_STATE', `${spec.instance} is a machine with an init of its own`);
    const { own } = guestPaths;
    const mount = await toolCommand(this.#tools, 'mount');
    // In the process of the program alone: variables of this script have names too.
    const exports = Object.entries({ ...environmentOfProgram(record), ...secrets }).map(
      ([name, value]) => `export ${name}=${shellWord(value)}`,
    );
    // The memory group of the guest as itself sees it, v1 or v2, tells why a program was killed. The program does not wait for
    // it: it is there when the program has ended. That the program runs is said by its own process, which has given up the
    // handlers that it inherits: a signal that comes after that is not lost.
    return `exec </dev/null >${own}/out 2>${own}/err
${mount} -t cgroup -o memory none ${own}/cg 2>/dev/null || ${mount} -t cgroup2 none ${own}/cg 2>/dev/null &
mounted=$!
# LXD takes 15 s for the start of what has ended before it knows that it runs: the node says when it does.
end() {
echo "$1" >${own}/ended
[ -p ${own}/hold ] && read -r end <${own}/hold
exit $2
}
give() {
:
${exports.join('\n')}
}
cd ${shellWord(program.workingDir)} 2>/dev/null || end "${attempt} 126 0" 126
set -- ${program.command.map(shellWord).join(' ')}
case $1 in
  */*) [ -x "$1" ] && [ ! -d "$1" ] ;;
  *) ( give; command -v -- "$1" >/dev/null ) ;;
esac || end "${attempt} 127 0 lacking" 127
${passSignalsOn}
( trap - TERM INT HUP USR1 USR2; echo >${own}/begun; give; exec "$@" ) &
program=$!
${awaitProgram}
wait $mounted
oom=0
for file in memory.oom_control memory.events; do
  [ -r ${own}/cg/$file ] || continue
  while read -r key value; do [ "$key" = oom_kill ] && oom=$value; done <${own}/cg/$file
done
end "${attempt} $status $oom" $status
`;
  }

  #pump(instance: string): ProcessIdentity | undefined {
    try {
      const pump = JSON.parse(readFileSync(join(this.directory(instance), 'pump.json'), 'utf8')) as ProcessIdentity;
      return isAlive(pump) ? pump : undefined;
    } catch {
      return undefined;
    }
  }

  /** What the process runs that copies descriptors 3 and 5 into the logs: with times where there is perl. */
  async #reader(directory: string): Promise<string> {
    const perl = findTool('perl');
    if (perl) {
      await writeFile(join(directory, 'logger.pl'), timedLogger);
      return `exec ${shellWord(perl)} logger.pl ${this.#logMaxBytes}`;
    }
    const sizes = await logSizes(directory);
    return `${loggerFunction(this.#logMaxBytes)}
logger stdout ${logBlocks(this.#logMaxBytes, sizes.stdout)} <&3 &
logger stderr ${logBlocks(this.#logMaxBytes, sizes.stderr)} <&5 &
wait`;
  }

  /** A process of the node that copies both pipes into log files of bounded size. It outlives the driver. */
  async #startPump(instance: string): Promise<void> {
    const directory = this.directory(instance);
    const script = `exec 3<>own/out 5<>own/err\n${await this.#reader(directory)}`;
    const child = spawn('/bin/sh', ['-c', script], {
      cwd: directory,
      env: { ...toolEnvironment },
      detached: true,
      stdio: closedStdio(['ignore', 'ignore', 'ignore']),
    });
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve);
      child.once('error', reject);
    });
    child.unref();
    const pid = child.pid ?? 0;
    const path = join(directory, 'pump.json');
    await writeFile(`${path}.tmp`, JSON.stringify({ pid, startTime: startTimeOf(pid) ?? '' }));
    await rename(`${path}.tmp`, path);
  }
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
